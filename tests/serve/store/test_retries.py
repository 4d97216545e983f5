"""A request that comes twice is learned once."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from sparsemeta.errors import ConflictError
from sparsemeta.serve.store import Retry, Step
from sparsemeta.serve.store.steps import AGAIN
from tests.serve.store.made import blueprint, content, open_store

MADE = blueprint()


class Clock:
    """Seconds that pass when a test says so."""

    now = 1e9

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path, clock):
    with open_store(tmp_path / "store", clock=clock) as opened:
        opened.create("ann", "notes")
        yield opened


def step(store, number, retry, **options):
    head = store.memory("ann", "notes").head.id
    options = {"parent": head, "moves": head, "result": b"answer %d" % number, **options}
    return Step(content=content(MADE, number), tokens=[number], retry=retry, **options)


def commit(store, number, retry, **options):
    return store.commit("ann", "notes", step(store, number, retry, **options))


def test_a_key_stands_for_one_request(store):
    first = commit(store, 1, Retry(b"body", "key"))
    commit(store, 2, None)
    again = commit(store, 3, Retry(b"body", "key"))
    assert (again.version, again.result, again.replayed) == (first.version, b"answer 1", True)
    with pytest.raises(ConflictError, match="was used for another request"):
        commit(store, 4, Retry(b"another", "key"))
    assert len(store.versions("ann", "notes").items) == 3


def test_a_key_is_its_owners(store):
    commit(store, 1, Retry(b"body", "key"))
    memory = store.create("bob")
    made = Step(memory.head.id, content(MADE, 2), retry=Retry(b"other", "key"))
    assert not store.commit("bob", memory.id, made).replayed


def test_the_same_words_said_twice_are_learned_twice(store):
    done = [commit(store, 1, Retry(b"body")) for _ in range(2)]
    assert [one.replayed for one in done] == [False, False]
    assert done[1].version.parent == done[0].version.id


def test_a_repetition_without_a_key(store, clock):
    """As openai's client sends it: to a head that has moved on, or from an immutable parent."""
    root = store.memory("ann", "notes").head.id
    assert store.replay("ann", "notes", root, Retry(b"body", repeated=True)) is None
    first = commit(store, 1, Retry(b"body"))
    clock.now += AGAIN
    assert commit(store, 2, Retry(b"body", repeated=True)).version == first.version
    commit(store, 3, None)
    assert commit(store, 4, Retry(b"body", repeated=True)).version == first.version
    clock.now += 1
    late = commit(store, 5, Retry(b"body", repeated=True))
    assert not late.replayed
    from_parent = commit(store, 6, Retry(b"body", repeated=True), parent=root, moves=None)
    assert from_parent.version == first.version


def test_a_repetition_of_what_was_undone_is_done(store):
    first = commit(store, 1, Retry(b"body"))
    store.reset("ann", "notes")
    store.undo("ann", "notes", first.version.parent)
    other = commit(store, 2, None)
    again = commit(store, 3, Retry(b"body", repeated=True))
    assert (again.replayed, again.version.parent) == (False, other.version.id)


def test_a_repetition_elsewhere_is_another_request(store):
    commit(store, 1, Retry(b"body"))
    other = store.fork("ann", store.memory("ann", "notes").head.id, "other")
    made = Step(other.head.id, content(MADE, 2), retry=Retry(b"body", repeated=True))
    assert not store.commit("ann", "other", made).replayed


def test_a_deleted_memory_takes_its_keys_with_it(store):
    commit(store, 1, Retry(b"body", "key"))
    store.delete("ann", "notes")
    store.create("ann", "notes")
    assert not commit(store, 2, Retry(b"another", "key")).replayed


def test_many_at_once_are_one(store):
    made = step(store, 1, Retry(b"body", "key"))
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda _: store.commit("ann", "notes", made), range(16)))
    assert len({one.version.id for one in done}) == 1
    assert sorted(one.replayed for one in done) == [False] + [True] * 15


def test_of_many_at_once_without_a_key_one_moves_the_head(store):
    head = store.memory("ann", "notes").head.id

    def attempt(number):
        try:
            return commit(store, number, None, parent=head, moves=head).version.id
        except ConflictError:
            return None

    with ThreadPoolExecutor(8) as pool:
        made = [found for found in pool.map(attempt, range(16)) if found]
    assert [store.memory("ann", "notes").head.id] == made
    blobs = {path.name for path in store._blobs.folder.iterdir()}
    assert len(blobs) == 4  # empty and not, each with its record: of the others nothing is left
