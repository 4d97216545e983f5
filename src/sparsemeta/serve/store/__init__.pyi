from .keys import Keys as Keys, open_keys as open_keys
from .store import DEFAULT as DEFAULT, Store as Store
from .types import (
    Done as Done,
    Event as Event,
    Key as Key,
    Match as Match,
    Memory as Memory,
    Page as Page,
    Retry as Retry,
    Step as Step,
    Usage as Usage,
    Version as Version,
)
