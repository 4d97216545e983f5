"""Settings as frozen dataclasses with declared bounds, and their one way in and out of TOML.

A field's docstring is its help on the command line. Unknown keys, wrong types and values out of
bounds are errors that name the file, the key and what would be right.

settings.py  what all settings have in common
memory.py    those of memories
toml.py      from TOML and plain dictionaries, and back
"""

from sparsemeta.config.memory import (
    AddressKind as AddressKind,
    MemoryConfig as MemoryConfig,
    RowsConfig as RowsConfig,
    TablesConfig as TablesConfig,
)
from sparsemeta.config.settings import (
    Above as Above,
    AtLeast as AtLeast,
    Count as Count,
    Settings as Settings,
    Within as Within,
)
from sparsemeta.config.toml import (
    from_dict as from_dict,
    read_toml as read_toml,
    to_dict as to_dict,
    write_toml as write_toml,
)
