"""Every error that sparsemeta raises on purpose.

A message says what is wrong, where, and how to mend it. The command line prints it and exits
with 2.
"""

from functools import cache
from importlib.util import find_spec


class SparseMetaError(Exception):
    """Base class: catch this to catch everything sparsemeta raises on purpose."""


class ConfigError(SparseMetaError, ValueError):
    """A recipe or a setting that cannot be used."""


class CorpusError(SparseMetaError):
    """Text or images that cannot be read or trained on."""


class CheckpointError(SparseMetaError):
    """A model folder that is missing, damaged or foreign."""


class StateError(SparseMetaError):
    """A memory that is damaged, or that belongs to another model."""


class StoreError(SparseMetaError):
    """A store of memories that cannot be used: damaged, of another model, or open elsewhere."""


class NotFoundError(StoreError):
    """What there is not, or is another owner's: nobody can tell which."""


class ConflictError(StoreError):
    """A head that is not where it was expected, a name or a key that stands for something else."""


class TooLargeError(StoreError):
    """More bytes than are allowed."""


class CompressionError(SparseMetaError):
    """A compressed file that is damaged, or that was made by another model or machine."""


class ScanError(SparseMetaError, ValueError):
    """Tensors that do not describe a memory update."""


class StreamError(SparseMetaError, ValueError):
    """What does not fit a stream or an environment: predictions of another shape, a bad action."""


class TrainingError(SparseMetaError):
    """Training that cannot go on."""


class MissingExtra(SparseMetaError, ImportError):
    """An optional package, as it is imported, that is not installed; an extra of ours brings it."""

    def __init__(self, package: str, extra: str):
        super().__init__(
            f"this needs {package}, which is not installed. "
            f"Install it with: pip install 'sparsemeta[{extra}]'"
        )


def require(condition: bool, message: str) -> None:
    """Raise `ConfigError(message)` unless the condition holds."""
    if not condition:
        raise ConfigError(message)


@cache
def installed(package: str) -> bool:
    """Whether an optional package can be imported; it is looked for once."""
    return find_spec(package) is not None


def require_installed(package: str, extra: str) -> None:
    """Raise `MissingExtra(package, extra)` unless an optional package can be imported."""
    if not installed(package):
        raise MissingExtra(package, extra)
