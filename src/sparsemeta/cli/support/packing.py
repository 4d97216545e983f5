"""What packing and unpacking a file have in common: one file in, one file out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from sparsemeta.errors import ConfigError, require
from sparsemeta.files import require_writable, writable, write_file


@dataclass(frozen=True)
class Conversion:
    """A model, and a file to make another of."""

    model: tyro.conf.Positional[Path]
    """A model folder, or the folder of a run: then its best checkpoint."""
    file: tyro.conf.Positional[Path]
    """The file to read."""
    memory: Path | None = None
    """The memory to begin with, which is left as it is. If left out: an empty one."""
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Replace a file that stands where the result goes; otherwise that is an error."""

    def read(self) -> bytes:
        """The bytes of the file."""
        try:
            return self.file.read_bytes()
        except OSError as error:
            reason = error.strerror or error
            raise ConfigError(f"{self.file}: cannot be read ({reason}). Name a file.") from None

    def require_free(self, out: Path) -> None:
        """Raise `ConfigError` unless the result may be written there."""
        require_writable(out)
        require(
            self.overwrite or not out.exists(),
            f"{out}: exists already. To lose it: --overwrite. To keep it: another --out.",
        )


def write_bytes(out: Path, data: bytes) -> None:
    """Write the result, whole or not at all."""
    with writable(out), write_file(out) as aside:
        aside.write_bytes(data)
