from .checkpoints import (
    Checkpoint as Checkpoint,
    check as check,
    damaged as damaged,
    load_model as load_model,
    newest as newest,
    prune as prune,
    read_json as read_json,
    step_folder as step_folder,
    step_folders as step_folders,
    weights_of as weights_of,
    write_json as write_json,
)
from .config import (
    REMEDY as REMEDY,
    Positive as Positive,
    Precision as Precision,
    Steps as Steps,
    Strategy as Strategy,
    TrainingConfig as TrainingConfig,
    cosine as cosine,
)
from .engine import Engine as Engine, is_main as is_main, whole as whole
from .fit import (
    Interrupted as Interrupted,
    StopRequest as StopRequest,
    fit as fit,
    locked as locked,
    signals_deferred as signals_deferred,
)
from .learner import Learner as Learner
from .log import JsonlLog as JsonlLog, Progress as Progress, TensorBoardLog as TensorBoardLog
from .muon import Muon as Muon
