"""What owners do with memories, and what they are told when they cannot."""

import pytest

from sparsemeta.errors import ConfigError, ConflictError, NotFoundError, TooLargeError
from sparsemeta.serve.store import DEFAULT, Event, Retry, Step, Usage
from tests.serve.store.made import blueprint, content, open_store

MADE = blueprint()


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "store") as opened:
        yield opened


def read(store, memory, number, tokens=(1, 2), **options):
    """One step further on from the head of a memory of ann's."""
    head = store.memory("ann", memory).head.id
    options = {"parent": head, "moves": head, **options}
    step = Step(content=content(MADE, number), tokens=tokens, **options)
    return store.commit("ann", memory, step).version


def test_the_default_memory_is_one_and_the_same(store):
    made = store.default("ann")
    assert (made.name, made.conversation, made.head.kind) == (DEFAULT, False, "create")
    assert store.default("ann") == made == store.memory("ann", made.id)
    assert store.default("bob").id != made.id


def test_a_version_says_what_it_is(store):
    first = store.create("ann", "notes").head
    about = {"loss": 1.5, "rows": 3}
    found = read(store, "notes", 1, [5, 6, 7], kind="response", response="resp_1", about=about)
    assert (found.parent, found.kind, found.response) == (first.id, "response", "resp_1")
    assert (found.tokens, found.position, found.ledger) == (3, 3, 3)
    assert (found.about, found.created) == (about, 1e9)
    assert found.bytes == len(content(MADE, 1)) == len(store.content("ann", found.id))
    assert store.response("ann", "resp_1") == store.version("ann", found.id) == found
    assert store.path("ann", found.id).read_bytes() == content(MADE, 1)
    with pytest.raises(ConflictError, match="there is a response 'resp_1' already"):
        read(store, "notes", 2, response="resp_1")


def test_what_is_anothers_does_not_exist(store):
    """Each call says of a foreign id just what it says of one that nobody has."""
    memory = store.create("ann", "notes")
    version = read(store, "notes", 1, response="resp_1")
    mine = store.create("bob", "mine")
    calls = {
        memory.id: [
            store.memory,
            store.versions,
            store.events,
            store.reset,
            store.undo,
            store.delete,
            lambda who, what: store.memories(who, after=what),
            lambda who, what: store.match(who, what, [1]),
            lambda who, what: store.upload(who, what, content(MADE, 3)),
            lambda who, what: store.commit(who, what, Step(mine.head.id, b"")),
            lambda who, what: store.merge(who, "mine", what, lambda *_: b""),
            lambda who, what: store.merge(who, what, "mine", lambda *_: b""),
        ],
        version.id: [
            store.version,
            store.fork,
            store.path,
            store.content,
            store.ledger,
            lambda who, what: store.tail(who, what, 3),
            lambda who, what: store.undo(who, "mine", what),
            lambda who, what: store.versions(who, "mine", after=what),
            lambda who, what: store.commit(who, "mine", Step(what, b"")),
            lambda who, what: store.replay(who, "mine", what, Retry(b"", "key")),
        ],
        "resp_1": [store.response],
        "notes": [store.memory, store.delete],
    }
    for theirs, asked in calls.items():
        nobodys = theirs[:-1] + ("0" if theirs[-1] != "0" else "1")
        for call in asked:
            told = []
            for identity in (theirs, nobodys):
                with pytest.raises(NotFoundError) as error:
                    call("bob", identity)
                told.append(str(error.value).replace(identity, "..."))
            assert told[0] == told[1]
    assert store.usage("bob") == Usage(1, 1, mine.head.bytes)
    assert store.memory("ann", "notes").head == version


def test_an_owners_version_of_another_memory_is_no_place_for_a_head(store):
    store.create("ann", "a")
    elsewhere = store.create("ann", "b").head.id
    for call in (
        lambda: store.undo("ann", "a", elsewhere),
        lambda: store.commit("ann", "a", Step(elsewhere, b"")),
        lambda: store.versions("ann", "a", after=elsewhere),
    ):
        with pytest.raises(NotFoundError, match="this memory has none such"):
            call()


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb", "mem_1", "conv_1"])
def test_names_that_cannot_be(store, name):
    with pytest.raises(ConfigError, match="cannot be called"):
        store.create("ann", name)


def test_names_are_an_owners_own(store):
    version = store.create("ann", "notes").head.id
    store.create("bob", "notes")
    with pytest.raises(ConflictError, match="there is a memory 'notes' already"):
        store.fork("ann", version, "notes")
    store.delete("ann", "notes")
    store.create("ann", "notes")


def test_lists_come_in_pages(store):
    made = [store.create("ann").id for _ in range(5)]
    talks = [store.create("ann", conversation=True).id for _ in range(2)]
    assert [one.id for one in store.memories("ann", conversations=True).items] == talks[::-1]
    seen, after = [], None
    for expected_more in (True, True, False):
        page = store.memories("ann", after=after, limit=2)
        seen += [one.id for one in page.items]
        assert page.more == expected_more
        after = seen[-1]
    assert seen == made[::-1]
    versions = [store.memory("ann", made[0]).head.id]
    versions += [read(store, made[0], number).id for number in range(4)]
    page = store.versions("ann", made[0], limit=3)
    assert ([one.id for one in page.items], page.more) == (versions[:1:-1], True)
    page = store.versions("ann", made[0], after=versions[2], limit=3)
    assert ([one.id for one in page.items], page.more) == (versions[1::-1], False)


def test_heads_are_compared_and_swapped(store):
    first = store.create("ann", "notes").head.id
    second = read(store, "notes", 1).id
    for call in (
        lambda: read(store, "notes", 2, moves=first),
        lambda: store.undo("ann", "notes", expect=first),
        lambda: store.reset("ann", "notes", expect=first),
        lambda: store.upload("ann", "notes", content(MADE, 3), expect=first),
        lambda: store.merge("ann", "notes", "notes", lambda *_: b"", expect=first),
    ):
        with pytest.raises(ConflictError, match=f"is at {second}, not at {first}"):
            call()
    assert store.memory("ann", "notes").head.id == second
    assert store.undo("ann", "notes", expect=second).head.id == first
    assert store.undo("ann", "notes", second, expect=first).head.id == second
    with pytest.raises(ConflictError, match="nothing is left to undo"):
        store.undo("ann", store.undo("ann", "notes").id)


def test_a_merge_of_a_memory_that_went_on_meanwhile(store):
    first = store.create("ann", "notes")
    other = store.fork("ann", first.head.id, "other")

    def combine(*paths):
        read(store, "notes", 1)
        return content(MADE, 2)

    with pytest.raises(ConflictError):
        store.merge("ann", first.id, other.id, combine)
    assert store.memory("ann", "notes").head.blob == read(store, "other", 1).blob


def test_what_happened_is_told_in_order(store):
    memory = store.create("ann", "notes")
    read(store, "notes", 1, about={"loss": 2.0})
    store.undo("ann", "notes")
    store.reset("ann", "notes")
    store.fork("ann", memory.head.id, "fork")
    page = store.events("ann", "notes")
    assert [one.kind for one in page.items] == ["create", "read", "undo", "reset"]
    assert page.items[1].about == {"loss": 2.0}
    assert all(isinstance(one, Event) and one.memory == memory.id for one in page.items)
    later = store.events("ann", "notes", after=page.items[1].number, limit=1)
    assert (later.items, later.more) == (page.items[2:3], True)
    assert [one.kind for one in store.events("ann", "fork").items] == ["fork"]


def test_usage_counts_a_blob_once(store):
    memory = store.create("ann", "notes")
    store.fork("ann", memory.head.id, "fork")
    twice = [read(store, "notes", 1), read(store, "notes", 1)]
    assert twice[0].blob == twice[1].blob
    assert store.usage("ann") == Usage(2, 3, memory.head.bytes + twice[0].bytes)


def test_a_memory_that_is_too_large(tmp_path):
    with open_store(tmp_path, most=700) as store:
        store.create("ann", "notes")
        for call in (
            lambda: store.upload("ann", "notes", bytes(701)),
            lambda: store.commit("ann", "notes", Step("ver_0", bytes(701))),
        ):
            with pytest.raises(TooLargeError, match="701 bytes is larger than the 700"):
                call()
