from .augmented import (
    MemoryCache as MemoryCache,
    augment as augment,
    load_adapter as load_adapter,
    memories as memories,
    save_adapter as save_adapter,
    session as session,
    strip as strip,
    trainable_parameters as trainable_parameters,
)
from .config import MemoryConfig as MemoryConfig
from .errors import (
    CheckpointError as CheckpointError,
    CompressionError as CompressionError,
    ConfigError as ConfigError,
    ConflictError as ConflictError,
    CorpusError as CorpusError,
    MissingExtra as MissingExtra,
    NotFoundError as NotFoundError,
    ScanError as ScanError,
    SparseMetaError as SparseMetaError,
    StateError as StateError,
    StoreError as StoreError,
    StreamError as StreamError,
    TooLargeError as TooLargeError,
    TrainingError as TrainingError,
)
from .fast_weights import FastWeights as FastWeights, LayerWeights as LayerWeights
from .nn import (
    Addressing as Addressing,
    Health as Health,
    MetaLearner as MetaLearner,
    SparseMemory as SparseMemory,
    SparseMetaRNN as SparseMetaRNN,
    StreamLearner as StreamLearner,
    memory_off as memory_off,
    observe as observe,
)
from .ops import (
    Address as Address,
    Segment as Segment,
    checked as checked,
    dense_address as dense_address,
    product_address as product_address,
    scan as scan,
    signed_address as signed_address,
    topk_address as topk_address,
)
from .streams import (
    OnlineClassifier as OnlineClassifier,
    OnlineRegressor as OnlineRegressor,
)

__version__: str
