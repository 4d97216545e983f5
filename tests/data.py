"""Text of a size that is not kept with the project; tests that need it skip where it is absent."""

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("SPARSEMETA_DATA", Path(__file__).parents[2] / "shared" / "data"))


def data_file(name: str) -> Path:
    """A file of the data folder, or a skipped test."""
    if not (DATA / name).is_file():
        pytest.skip(f"needs {name} in {DATA}; set SPARSEMETA_DATA to the folder that has it")
    return DATA / name
