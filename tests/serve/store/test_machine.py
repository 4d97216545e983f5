"""Whatever is done to a store, in whatever order, it holds what plain dictionaries would hold."""

import hashlib
import tempfile
from collections import Counter

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sparsemeta.errors import ConflictError, NotFoundError
from sparsemeta.serve.store import Retry, Step
from sparsemeta.serve.store.ledgers import pack
from tests.serve.store.made import FAST, blueprint, content, open_store
from tests.serve.store.model import Model

OWNERS = st.sampled_from(["ann", "bob"])
TOKENS = st.lists(st.integers(0, 1), max_size=2)
LEDGERS = st.sampled_from(["extend", "extend", "keep", "begin"])
MADE = blueprint()


class Machine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=FAST)
        self.store, self.model, self.number = open_store(self.folder.name), Model(), 0

    def teardown(self):
        self.store.close()
        self.folder.cleanup()

    def fresh(self):
        self.number += 1
        return content(MADE, self.number)

    def some(self, data, things):
        """One of a list, drawn by its place in it: ids differ from run to run."""
        return [*things][data.draw(st.integers(0, len(things) - 1))]

    def head(self, memory):
        return self.model.memories[memory].head

    def moved(self, found, kind, content):
        """A head was moved to a new version."""
        parent = self.head(found.id)
        made = self.model.grow(found.head.id, found.id, parent, kind, content, (), "keep")
        self.model.memories[found.id].head = made

    @rule(owner=OWNERS, name=st.sampled_from([None, "x", "y"]), conversation=st.booleans())
    def create(self, owner, name, conversation):
        taken = {one.name for one in self.model.memories.values() if one.owner == owner}
        if name is not None and name in taken:
            with pytest.raises(ConflictError, match="there is a memory"):
                self.store.create(owner, name)
            return
        found = self.store.create(owner, name, conversation=conversation)
        assert found.id.startswith("conv_" if conversation else "mem_")
        empty = self.store.content(owner, found.head.id)
        self.model.begin(owner, found.id, name, found.head.id, empty)

    @precondition(lambda self: self.model.memories)
    @rule(data=st.data(), steps=st.lists(st.tuples(TOKENS, LEDGERS), min_size=1, max_size=4))
    def commit(self, data, steps):
        memory = self.some(data, self.model.memories)
        owner = self.model.memories[memory].owner
        for tokens, ledger in steps:
            head, made = self.head(memory), self.fresh()
            parent = self.some(data, [head, head, *self.model.of(memory)])
            moves = self.some(data, [head.id, head.id, None])
            step = Step(parent.id, made, tokens, ledger=ledger, moves=moves, result=b"answer")
            done = self.store.commit(owner, memory, step)
            assert (done.replayed, done.result) == (False, b"answer")
            version = self.model.grow(done.version.id, memory, parent, "read", made, tokens, ledger)
            if moves:
                self.model.memories[memory].head = version

    @precondition(lambda self: self.model.memories)
    @rule(data=st.data())
    def commit_too_late(self, data):
        memory = self.some(data, self.model.memories)
        owner, head = self.model.memories[memory].owner, self.head(memory)
        step = Step(head.id, self.fresh(), moves="ver_0")
        with pytest.raises(ConflictError, match=f"is at {head.id}, not at ver_0"):
            self.store.commit(owner, memory, step)

    @precondition(lambda self: self.model.memories)
    @rule(data=st.data(), keyed=st.booleans())
    def commit_twice(self, data, keyed):
        """A retry is learned once, also where the head has moved on meanwhile."""
        memory = self.some(data, self.model.memories)
        owner, head, made = self.model.memories[memory].owner, self.head(memory), self.fresh()
        body = str(self.number).encode()
        retry = Retry(body, key=body.decode() if keyed else None)
        step = Step(head.id, made, [1], moves=head.id, result=b"once", retry=retry)
        done = self.store.commit(owner, memory, step)
        version = self.model.grow(done.version.id, memory, head, "read", made, [1])
        self.model.memories[memory].head = version
        again = Retry(body, key=retry.key, repeated=True)
        for parent in (head.id, version.id):
            step = Step(parent, self.fresh(), [1], moves=parent, retry=again)
            replayed = self.store.commit(owner, memory, step)
            assert replayed == self.store.replay(owner, memory, parent, again)
            assert (replayed.version, replayed.result) == (done.version, b"once")

    @precondition(lambda self: self.model.versions)
    @rule(data=st.data())
    def fork(self, data):
        version = self.model.versions[self.some(data, self.model.versions)]
        found = self.store.fork(version.owner, version.id)
        self.model.begin(version.owner, found.id, None, version.id, None)

    @precondition(lambda self: self.model.memories)
    @rule(data=st.data(), named=st.booleans())
    def undo(self, data, named):
        memory = self.some(data, self.model.memories)
        owner, head = self.model.memories[memory].owner, self.head(memory)
        to = self.some(data, self.model.of(memory)) if named else head.parent
        if to is None:
            with pytest.raises(ConflictError, match="first version"):
                self.store.undo(owner, memory)
            return
        self.store.undo(owner, memory, to.id if named else None, expect=head.id)
        self.model.memories[memory].head = to

    @precondition(lambda self: self.model.memories)
    @rule(data=st.data(), guarded=st.booleans())
    def reset(self, data, guarded):
        memory = self.some(data, self.model.memories)
        owner, head = self.model.memories[memory].owner, self.head(memory)
        found = self.store.reset(owner, memory, expect=head.id if guarded else None)
        self.moved(found, "reset", self.store.content(owner, found.head.id))

    @precondition(lambda self: self.model.memories)
    @rule(data=st.data())
    def upload(self, data):
        memory, made = self.some(data, self.model.memories), self.fresh()
        found = self.store.upload(self.model.memories[memory].owner, memory, made)
        self.moved(found, "upload", made)

    @precondition(lambda self: self.model.memories)
    @rule(data=st.data())
    def merge(self, data):
        memory, made = self.some(data, self.model.memories), self.fresh()
        owner = self.model.memories[memory].owner
        others = [k for k, one in self.model.memories.items() if one.owner == owner]
        other = self.some(data, others)
        common = self.model.common(self.head(memory), self.head(other))

        def combine(*paths):
            heads = [self.head(memory).content, self.head(other).content]
            expected = [*heads, common and common.content]
            assert [path and path.read_bytes() for path in paths] == expected
            return made

        found = self.store.merge(owner, memory, other, combine)
        version = self.model.grow(
            found.head.id, memory, self.head(memory), "merge", made, (), "keep"
        )
        self.model.memories[memory].head = version

    @precondition(lambda self: self.model.memories)
    @rule(data=st.data())
    def delete(self, data):
        memory = self.some(data, self.model.memories)
        self.store.delete(self.model.memories[memory].owner, memory)
        self.model.delete(memory)

    @rule()
    def reopen(self):
        self.store.close()
        self.store = open_store(self.folder.name)

    @invariant()
    def same_memories(self):
        for owner in ("ann", "bob"):
            expected = [k for k, one in self.model.memories.items() if one.owner == owner]
            found = [
                *self.store.memories(owner, limit=99).items,
                *self.store.memories(owner, conversations=True, limit=99).items,
            ]
            assert sorted(one.id for one in found) == sorted(expected)
            for one in found:
                known = self.model.memories[one.id]
                assert (one.name, one.head.id) == (known.name, known.head.id)
        for memory, known in self.model.memories.items():
            stranger = "bob" if known.owner == "ann" else "ann"
            with pytest.raises(NotFoundError):
                self.store.memory(stranger, memory)
            found = self.store.versions(known.owner, memory, limit=999)
            assert [one.id for one in found.items] == [one.id for one in self.model.of(memory)]

    @invariant()
    def same_versions(self):
        for version in self.model.versions.values():
            found = self.store.version(version.owner, version.id)
            assert found.parent == (version.parent and version.parent.id)
            assert (found.kind, found.position) == (version.kind, version.position)
            assert self.store.content(version.owner, version.id) == version.content
            assert tuple(self.store.ledger(version.owner, version.id)) == version.ledger
            read = [token for one in reversed([*version.grown()]) for token in one.tokens]
            assert self.store.tail(version.owner, version.id, 3) == read[-3:]

    @invariant()
    def same_matches(self):
        for memory, known in self.model.memories.items():
            for ledger in {version.ledger for version in self.model.of(memory)}:
                for chat in (ledger, (*ledger, 2), (2, *ledger)):
                    found = self.store.match(known.owner, memory, chat)
                    found = found and (found.tokens, found.version.id)
                    assert found == self.model.match(memory, chat)

    @invariant()
    def no_other_file(self):
        found = {path.name for path in self.store._blobs.folder.iterdir()}
        contents = {version.content for version in self.model.versions.values()}
        records = {
            pack(version.tokens, result)
            for version in self.model.versions.values()
            for result in (b"", b"answer", b"once")
        }
        assert {hashlib.sha256(data).hexdigest() for data in contents} <= found
        assert found <= {hashlib.sha256(data).hexdigest() for data in contents | records}
        assert self.store._blobs._held == Counter()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
