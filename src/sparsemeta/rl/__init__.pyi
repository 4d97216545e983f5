from . import environments as environments, evaluation as evaluation
from .agent import (
    ActorCritic as ActorCritic,
    Player as Player,
    elsewhere as elsewhere,
    make as make,
    to_best_device as to_best_device,
)
from .config import (
    AgentConfig as AgentConfig,
    EnvironmentConfig as EnvironmentConfig,
    Recipe as Recipe,
    TrainingConfig as TrainingConfig,
)
from .evaluation import Evaluation as Evaluation, evaluate as evaluate
from .rollout import Collector as Collector
from .training import load as load, train as train
from .watching import (
    Moment as Moment,
    require_film as require_film,
    save_film as save_film,
    watch as watch,
)
