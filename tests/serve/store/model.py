"""A store as one would write it without a disk: dictionaries, and every question by brute force."""

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Version:
    id: str
    owner: str
    memory: str
    parent: "Version | None"
    kind: str
    content: bytes
    tokens: tuple[int, ...] = ()
    ledger: tuple[int, ...] = ()
    position: int = 0

    def line(self):
        """Itself and what it grew from, newest first."""
        version = self
        while version is not None:
            yield version
            version = version.parent

    def grown(self):
        """The same, back to its base."""
        for version in self.line():
            yield version
            if version.kind in ("create", "reset", "upload"):
                return


@dataclass
class Memory:
    owner: str
    name: str | None
    head: Version
    origin: Version


@dataclass
class Model:
    memories: dict[str, Memory] = field(default_factory=dict)
    versions: dict[str, Version] = field(default_factory=dict)

    def grow(self, identity, memory, parent, kind, content, tokens=(), ledger="extend"):
        """A new version, which no head is on yet."""
        if kind in ("create", "reset", "upload"):
            read, position = (), 0
        else:
            begun = () if ledger == "begin" else parent.ledger
            read = begun if ledger == "keep" else (*begun, *tokens)
            position = parent.position + len(tokens)
        owner = self.memories[memory].owner if memory in self.memories else None
        made = Version(
            identity, owner, memory, parent, kind, content, tuple(tokens), read, position
        )
        self.versions[identity] = made
        return made

    def begin(self, owner, memory, name, identity, content):
        """A new memory on a version of its own, or on one that there is."""
        if identity not in self.versions:
            made = self.grow(identity, memory, None, "create", content)
            self.versions[identity] = replace(made, owner=owner)
        head = self.versions[identity]
        self.memories[memory] = Memory(owner, name, head, head)

    def of(self, memory):
        """All versions of a memory, newest first."""
        before = {version.id for version in self.memories[memory].origin.line()}
        return [
            version
            for version in reversed(self.versions.values())
            if version.memory == memory or version.id in before
        ]

    def match(self, memory, tokens):
        """The version, and how many tokens it saves."""
        found = [
            (len(version.ledger), -age, version.id)
            for age, version in enumerate(self.memories[memory].head.grown())
            if version.ledger and version.ledger == tuple(tokens[: len(version.ledger)])
        ]
        return max(found, key=lambda one: one[:2])[::2] if found else None

    def common(self, one, other):
        """The last version that two heads grew from since their base."""
        also = {version.id for version in other.grown()}
        return next((version for version in one.grown() if version.id in also), None)

    def delete(self, memory):
        """A memory, and what no other has of it."""
        del self.memories[memory]
        kept = {
            version.id
            for one in self.versions.values()
            if one.memory in self.memories
            for version in one.line()
        }
        for one in self.memories.values():
            kept |= {version.id for version in one.origin.line()}
        self.versions = {k: v for k, v in self.versions.items() if k in kept}
