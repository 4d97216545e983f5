from .adapters import (
    load_adapter as load_adapter,
    save_adapter as save_adapter,
    write_adapter as write_adapter,
)
from .augmenting import (
    augment as augment,
    memories as memories,
    named_memories as named_memories,
    strip as strip,
    trainable_parameters as trainable_parameters,
)
from .cache import MemoryCache as MemoryCache
from .passes import Carried as Carried
from .sessions import Session as Session, session as session
