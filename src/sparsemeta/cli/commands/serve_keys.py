"""`sparsemeta serve keys add|list|revoke`: who may use a store of memories."""

import json
from collections.abc import Sequence
from pathlib import Path
from time import gmtime, strftime
from typing import Annotated

import tyro
from tyro.conf import Positional

from sparsemeta.serve.store import Key, open_keys

AsJson = Annotated[bool, tyro.conf.arg(name="json")]
Store = Positional[Path]


def main(arguments: Sequence[str]) -> None:
    """Run a subcommand."""
    tyro.extras.subcommand_cli_from_dict(
        {"add": add, "list": show, "revoke": revoke},
        args=list(arguments),
        prog="sparsemeta serve keys",
        config=(tyro.conf.FlagCreatePairsOff,),
        description="Add, list and revoke the keys of a store that is not being served.",
    )


def add(store: Store, owner: Positional[str]) -> None:
    """Make a key, and print it: it is shown this once, and kept nowhere.

    Args:
        store: the folder of memories and keys, as `sparsemeta serve` names it; made if need be.
        owner: whose memories it opens. Several keys of one owner open the same.
    """
    with open_keys(store, create=True) as keys:
        key, secret = keys.add(owner)
    print(f"{key.id} opens the memories of {owner}")
    print(secret)


def show(store: Store, *, as_json: AsJson = False) -> None:
    """List all keys, without what is secret of them.

    Args:
        store: the folder of memories and keys.
        as_json: print JSON.
    """
    with open_keys(store) as keys:
        found = keys.list()
    if as_json:
        print(json.dumps([vars(key) for key in found], indent=2))
        return
    for key in found:
        gone = f", revoked {_day(key.revoked)}" if key.revoked is not None else ""
        print(f"{key.id} of {key.owner}, made {_day(key.created)}{gone}")


def revoke(store: Store, key: Positional[str]) -> None:
    """Refuse a key from now on; the owner's memories stay.

    Args:
        store: the folder of memories and keys.
        key: its id, as `list` shows it.
    """
    with open_keys(store) as keys:
        found: Key = keys.revoke(key)
    print(f"{found.id} of {found.owner} is refused from now on")


def _day(seconds: float) -> str:
    return strftime("%Y-%m-%d %H:%M UTC", gmtime(seconds))
