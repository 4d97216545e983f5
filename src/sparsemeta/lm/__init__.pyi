from . import insight as insight, memories as memories
from .adapters import AugmentRecipe as AugmentRecipe
from .checkpoint import find_model as find_model, load_model as load_model, save_model as save_model
from .compression import (
    Packed as Packed,
    compress as compress,
    decompress as decompress,
)
from .config import (
    CorpusConfig as CorpusConfig,
    ModelConfig as ModelConfig,
    Recipe as Recipe,
    TokenizerConfig as TokenizerConfig,
    TrainingConfig as TrainingConfig,
)
from .decoding import Decoder as Decoder
from .evaluation import (
    Arm as Arm,
    Comparison as Comparison,
    compare as compare,
    evaluate as evaluate,
)
from .generation import Spelling as Spelling, Writer as Writer, choose as choose
from .hf.training import train_adapter as train_adapter
from .memories import load as load, load_memory as load_memory, remember as remember
from .modelling import LanguageModel as LanguageModel
from .reading import (
    Reader as Reader,
    require_memory as require_memory,
    score as score,
)
from .sampling import Sampling as Sampling
from .scores import (
    Reading as Reading,
    Score as Score,
    Tally as Tally,
    passages as passages,
)
from .state import LMState as LMState
from .text import (
    Document as Document,
    Tokenizer as Tokenizer,
    load_tokenizer as load_tokenizer,
    read_documents as read_documents,
    split_holdout as split_holdout,
    train_tokenizer as train_tokenizer,
)
from .training import train as train
