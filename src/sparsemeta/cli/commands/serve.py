"""`sparsemeta serve MODEL`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from sparsemeta import serve
from sparsemeta.serve import ServeConfig


@dataclass(frozen=True)
class Serve:
    """Serve a model over HTTP: many users share it, and each has a memory that learns as it reads.

    The calls are OpenAI's (/v1/completions, /v1/responses, /v1/chat/completions, /v1/models), and
    /v1/memories for what was learned. Users are known by their keys: `sparsemeta serve keys`. The
    first start makes one. Requests are noted on standard error, a line of JSON each.
    """

    model: tyro.conf.Positional[Path]
    """A model folder, or the folder of a run: then its best checkpoint."""
    config: tyro.conf.OmitArgPrefixes[ServeConfig] = field(default_factory=ServeConfig)


def main(arguments: Sequence[str]) -> None:
    """Serve until a signal comes."""
    if arguments[:1] == ["keys"]:
        from sparsemeta.cli.commands import serve_keys

        return serve_keys.main(arguments[1:])
    flags = (tyro.conf.FlagCreatePairsOff,)
    command = tyro.cli(Serve, args=list(arguments), prog="sparsemeta serve", config=flags)
    print(f"{command.model}: loading")
    return serve.serve(command.model, command.config, _welcome)


def _welcome(where: "serve.Address") -> None:
    print(f"memories and keys are in {where.memories}")
    if where.secret:
        print(f"a key for you, which is shown this once: {where.secret}")
    else:
        print(f"users give a key: sparsemeta serve keys list {where.memories}")
    print(f"OpenAI's clients take base_url={where.url}/v1 and a key as api_key")
    print(f"listening at {where.url}; Ctrl-C stops it", flush=True)
