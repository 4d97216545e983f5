"""A chat that is sent again is found by what was read of it."""

import hashlib

import pytest
from hypothesis import given, settings, strategies as st

from sparsemeta.errors import StoreError
from sparsemeta.serve.store import Step
from sparsemeta.serve.store.ledgers import NOTHING, PRIME, Hasher, pack, unpack
from tests.serve.store.made import blueprint, content, open_store

MADE = blueprint()
SECRET = hashlib.sha256(b"secret").hexdigest()
HASHER = Hasher(SECRET)
TOKENS = st.lists(st.integers(0, 2**31 - 1), max_size=20)


@given(TOKENS, st.lists(st.integers(0, 20), max_size=5))
def test_hashes_of_prefixes_are_those_of_their_tokens(tokens, cuts):
    lengths = sorted({min(cut, len(tokens)) for cut in cuts})
    found = list(HASHER.prefixes(tokens, lengths))
    assert found == [(n, HASHER.extend(NOTHING, tokens[:n])) for n in lengths]
    whole = HASHER.extend(NOTHING, tokens)
    assert all(HASHER.extend(value, tokens[n:]) == whole for n, value in found)


@given(TOKENS, TOKENS)
def test_other_tokens_have_another_hash(one, other):
    same = HASHER.extend(NOTHING, one) == HASHER.extend(NOTHING, other)
    assert same == (one == other)
    keyed = HASHER.extend(NOTHING, one) != Hasher(SECRET[::-1]).extend(NOTHING, one)
    assert keyed or len(one) < 2


def test_the_hash_is_the_polynomial():
    key = int(SECRET, 16) % PRIME
    expected = (3 * key**2 + 1 * key + 10) % PRIME
    assert int(HASHER.extend(NOTHING, [2, 0, 9]), 16) == expected


@given(TOKENS, st.binary(max_size=20))
def test_a_record_is_unpacked_as_it_was_packed(tokens, result):
    assert unpack(pack(tokens, result)) == (tokens, result)


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "store") as opened:
        opened.create("ann", "notes")
        yield opened


class Chat:
    """A client that keeps its history, and sends it whole each time."""

    def __init__(self, store):
        self.store, self.read = store, 0

    def send(self, history, answer):
        """What a server would do; the version, and how many tokens were read."""
        head = self.store.memory("ann", "notes").head.id
        found = self.store.match("ann", "notes", history)
        known = found.tokens if found else 0
        parent = found.version.id if found else head
        self.read += 1
        step = Step(
            parent,
            content(MADE, self.read),
            [*history[known:], *answer],
            ledger="extend" if found else "begin",
            moves=head,
        )
        return self.store.commit("ann", "notes", step).version, len(history) - known


def test_each_turn_of_a_chat_is_read_once(store):
    chat, history = Chat(store), []
    for turn in range(10):
        history += [100 + turn, 200 + turn]
        version, read = chat.send(history, [300 + turn])
        assert read == 2
        history += [300 + turn]
        assert store.ledger("ann", version.id) == history
        assert version.position == version.ledger == len(history)
    assert len(store.versions("ann", "notes").items) == 11


def test_an_edit_forks_where_histories_diverge(store):
    chat, history, versions = Chat(store), [], []
    for turn in range(5):
        history += [100 + turn]
        versions.append(chat.send(history, [200 + turn])[0])
        history += [200 + turn]
    edited, read = chat.send([*history[:4], 999], [998])
    assert (edited.parent, read) == (versions[1].id, 1)
    assert store.ledger("ann", edited.id) == [*history[:4], 999, 998]
    assert store.memory("ann", "notes").head == edited
    listed = {one.id for one in store.versions("ann", "notes").items}
    assert {one.id for one in versions} < listed  # the old branch is alive
    store.undo("ann", "notes", versions[-1].id)
    assert chat.send([*history, 7], [8])[0].parent == versions[-1].id


def test_what_is_read_between_two_turns_is_kept(store):
    chat = Chat(store)
    chat.send([1, 2], [3])
    head = store.memory("ann", "notes").head.id
    step = Step(head, content(MADE, 9), [50, 51, 52], ledger="keep", moves=head)
    book = store.commit("ann", "notes", step).version
    assert (book.ledger, book.position) == (3, 6)
    version, read = chat.send([1, 2, 3, 4], [5])
    assert (version.parent, read) == (book.id, 1)
    assert store.ledger("ann", version.id) == [1, 2, 3, 4, 5]
    assert store.tail("ann", version.id, 4) == [51, 52, 4, 5]
    assert store.tail("ann", version.id, 99) == [1, 2, 3, 50, 51, 52, 4, 5]
    assert store.tail("ann", version.id, 0) == []


def test_what_was_undone_or_reset_is_no_match(store):
    chat = Chat(store)
    first, _ = chat.send([1, 2], [3])
    chat.send([1, 2, 3, 4], [5])
    store.undo("ann", "notes")
    assert store.match("ann", "notes", [1, 2, 3, 4, 5, 6]).version == first
    store.reset("ann", "notes")
    assert store.match("ann", "notes", [1, 2, 3, 4]) is None
    assert chat.send([1, 2, 3, 4], [5])[1] == 4


def test_of_two_chats_the_longer_match_counts(store):
    chat = Chat(store)
    long, _ = chat.send([1, 2], [3])
    short, read = chat.send([1, 9], [9])
    assert (short.parent, read) == (long.id, 2)
    assert store.match("ann", "notes", [1, 2, 3, 4]).version == long
    assert store.match("ann", "notes", [1, 9, 9, 4]).version == short
    assert store.match("ann", "notes", [1, 2]) is None


def test_a_fork_goes_on_with_the_chat(store):
    first, _ = Chat(store).send([1, 2], [3])
    fork = store.fork("ann", first.id)
    assert store.match("ann", fork.id, [1, 2, 3, 4]).version == first
    store.delete("ann", "notes")
    assert store.match("ann", fork.id, [1, 2, 3, 4]).version.id == first.id
    assert store.ledger("ann", first.id) == [1, 2, 3]


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_only_what_is_a_prefix_matches(tmp_path_factory, data):
    tokens = st.lists(st.integers(0, 1), min_size=1, max_size=3)
    with open_store(tmp_path_factory.mktemp("store")) as store:
        store.create("ann", "notes")
        chat, ledgers = Chat(store), {()}
        for turn in data.draw(st.lists(tokens, max_size=4)):
            history = [*data.draw(st.sampled_from(sorted(ledgers))), *turn]
            version, _ = chat.send(history, [1])
            ledgers.add((*history, 1))
            assert store.ledger("ann", version.id) == [*history, 1]


def test_a_record_that_is_gone_is_an_error_in_words(store):
    version, _ = Chat(store).send([1, 2], [3])
    for path in store._blobs.folder.iterdir():
        path.unlink()
    for call in (store.ledger, store.content):
        with pytest.raises(StoreError, match=r"is missing\. Put it back from a copy"):
            call("ann", version.id)
    (store._blobs.folder / version.blob).write_bytes(b"something else")
    with pytest.raises(StoreError, match="is not what was written"):
        store.content("ann", version.id)
