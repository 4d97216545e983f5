"""The settings of a server; no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from sparsemeta.config import AtLeast, Count, Settings, Within

MIB = 2**20


@dataclass(frozen=True)
class ServeConfig(Settings):
    """How a model is served."""

    store: Path | None = None
    """The folder of memories and keys, for this server alone. If left out: MODEL.store, beside the
    model."""
    host: str = "127.0.0.1"
    """The address to listen at; 0.0.0.0 is every one of this machine. There is no encryption: put a
    proxy that has it in front."""
    port: Annotated[int, Within(0, 65535)] = 8000
    """The port to listen at; 0 takes any that is free."""
    chat_template: Path | None = None
    """A Jinja file that writes chats as the model was taught to; chat_template.jinja in the model's
    folder, if there is one."""
    batch: Count = 64
    """How many users' next tokens are predicted together at most."""
    rate: str = "600/minute"
    """Requests that one user may make."""
    body: Annotated[float, AtLeast(0.001)] = 4.0
    """Size of a request at most, in MiB."""
    content: Annotated[float, AtLeast(0.001)] = 256.0
    """Size of a memory at most, in MiB."""
    kept: Annotated[float, AtLeast(0)] = 1024.0
    """Memories that are kept ready to go on with, in MiB of main memory."""
    grace: Annotated[int, AtLeast(0)] = 10
    """Seconds in which open answers may come to their end when the server is stopped."""
