"""Keys are told once, kept as HMACs, and refused when they were revoked."""

import json

import pytest

from sparsemeta.cli.commands.serve_keys import main
from sparsemeta.errors import ConfigError, NotFoundError, StoreError
from sparsemeta.serve.store import open_keys
from tests.serve.store.made import open_store
from tests.serve.store.test_deletion import everything


def test_a_key_opens_its_owners_memories(tmp_path):
    with open_store(tmp_path) as store:
        made, secret = store.keys.add("ann")
        second, other = store.keys.add("ann")
        assert made.id != second.id
        assert (made.owner, made.created, made.revoked) == ("ann", 1e9, None)
        assert store.keys.owner(secret) == store.keys.owner(other) == "ann"
        for wrong in ("", "ann", made.id, secret[:-1], secret + "x", secret.upper(), "\udcff"):
            assert store.keys.owner(wrong) is None
        assert store.keys.revoke(made.id).revoked == 1e9
        assert store.keys.owner(secret) is None
        assert store.keys.owner(other) == "ann"
    with open_store(tmp_path, clock=lambda: 2e9) as store:
        assert store.keys.owner(secret) is None
        assert store.keys.owner(other) == "ann"
        assert store.keys.revoke(made.id).revoked == 1e9  # the first time counts
        assert [key.id for key in store.keys.list()] == [made.id, second.id]
        with pytest.raises(NotFoundError, match="no key 'key_0'"):
            store.keys.revoke("key_0")


def test_secrets_are_long_and_kept_nowhere(tmp_path):
    with open_keys(tmp_path, create=True) as keys:
        secrets = {keys.add("ann")[1] for _ in range(50)}
    assert len(secrets) == 50
    assert all(len(secret) == len("sparsemeta-") + 43 for secret in secrets)  # 256 bits
    found = everything(tmp_path)
    assert not [secret for secret in secrets if secret.encode()[11:] in found]


@pytest.mark.parametrize("owner", ["", "x" * 201, "a\nb"])
def test_owners_that_cannot_be(tmp_path, owner):
    with open_keys(tmp_path, create=True) as keys, pytest.raises(ConfigError, match="an owner"):
        keys.add(owner)


def test_on_the_command_line(tmp_path, capsys):
    folder = str(tmp_path / "store")
    with pytest.raises(StoreError, match="no store"):
        main(["list", folder])
    assert not (tmp_path / "store").exists()
    main(["add", folder, "ann"])
    about, secret = capsys.readouterr().out.splitlines()
    identity = about.split()[0]
    assert about == f"{identity} opens the memories of ann"
    with open_store(folder) as store:
        assert store.keys.owner(secret) == "ann"
        for words in (["list", folder], ["add", folder, "bob"], ["revoke", folder, identity]):
            with pytest.raises(StoreError, match="is open in another process"):
                main(words)
    main(["revoke", folder, identity])
    main(["list", folder])
    assert "ann" in capsys.readouterr().out.splitlines()[-1]
    main(["list", folder, "--json"])
    (listed,) = json.loads(capsys.readouterr().out)
    assert listed["id"] == identity
    assert listed["revoked"] is not None
    with open_store(folder) as store:
        assert store.keys.owner(secret) is None
