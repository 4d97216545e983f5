"""The arms of an evaluation: sets of adaptations, by name; no torch."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from sparsemeta.config import to_dict
from sparsemeta.errors import require
from sparsemeta.lm.evaluation.adaptations import ADAPTATIONS, Adaptation, DocumentMemory, NoMemory

POLICIES = tuple(name for name, kind in ADAPTATIONS.items() if kind.policy)
BESIDE = tuple(k for k, kind in ADAPTATIONS.items() if not kind.policy and not kind.ablation)


@dataclass(frozen=True)
class Arm:
    """One way to read: the life of the memory, and what adapts beside it.

    Its name joins the parts with plus signs; `static` goes without saying where there are others.
    """

    parts: tuple[Adaptation, ...]
    """In the order of the registry; the first is the life of the memory."""

    @classmethod
    def of(cls, *parts: Adaptation) -> Self:
        """The arm of these adaptations, in any order; without a life of the memory, it is off."""
        parts = parts if any(part.policy for part in parts) else (NoMemory(), *parts)
        return cls(tuple(sorted(parts, key=lambda part: [*ADAPTATIONS].index(part.name))))

    @classmethod
    def parse(cls, name: str, settings: Sequence[Adaptation] = ()) -> Self:
        """The arm of a name such as `carried+dynamic`, parts in any order.

        Settings are those of its parts that are not the defaults; those of others count not.
        """
        names = name.split("+")
        for part in names:
            require(
                part in ADAPTATIONS,
                f"unknown arm {part!r}. The arms are {', '.join(ADAPTATIONS)}, and several joined "
                "by plus signs, such as carried+dynamic.",
            )
        require(
            len(set(names)) == len(names) and sum(part in POLICIES for part in names) <= 1,
            f"the arm {name!r} names {' and '.join(names)}. Name each part once, and one of "
            f"{', '.join(POLICIES)} at most.",
        )
        given = {part.name: part for part in settings}
        return cls.of(*(given.get(part) or ADAPTATIONS[part]() for part in names))

    def __str__(self) -> str:
        names = [part.name for part in self.parts]
        return "+".join(names[1:] if names[1:] and names[0] == NoMemory.name else names)

    @property
    def memory(self) -> Adaptation:
        """The life of the memory."""
        return self.parts[0]

    @property
    def alone(self) -> Self:
        """The arm that preparations are made in: as this one begins a text, and nothing beside."""
        return self.of(DocumentMemory() if self.memory.needs_memory else NoMemory())

    def changed(self, part: Adaptation) -> Self:
        """With other settings of one of its parts."""
        return replace(self, parts=tuple(part if p.name == part.name else p for p in self.parts))

    def policy(self, context: str, has_memory: bool) -> str:
        """What predictions draw on by it, in words, beside the `context` of the model itself."""
        order = "one pass, left to right, each token scored before it is read"
        memory, *beside = (part.describe() for part in self.parts)
        return "; ".join([order, context, memory if has_memory else "memory: none", *beside])

    def settings(self) -> dict[str, Any]:
        """The settings of its parts, as plain dictionaries."""
        return {part.name: to_dict(part) for part in self.parts[1:]}


def arms_of(has_memory: bool) -> tuple[str, ...]:
    """The arms that need a forward pass alone, which are those read unless others are named."""
    kinds = {name: kind for name, kind in ADAPTATIONS.items() if name in (*POLICIES, *BESIDE)}
    return tuple(
        name
        for name, kind in kinds.items()
        if not kind.needs_gradients and (has_memory or not kind.needs_memory)
    )


def all_arms(has_memory: bool) -> tuple[str, ...]:
    """Those, the ones that also need gradients, and the combinations."""
    sizes = range(1, len(BESIDE) + 1)
    beside = ["+".join(names) for n in sizes for names in itertools.combinations(BESIDE, n)]
    policies, lasting = (POLICIES, POLICIES[-1:]) if has_memory else (POLICIES[:1], ())
    return (*policies, *beside, *(f"{policy}+{name}" for policy in lasting for name in beside))


def choose_arms(
    arms: str | Sequence[str | Arm] | None, has_memory: bool, settings: Sequence[Adaptation] = ()
) -> tuple[Arm, ...]:
    """Arms by name or as they are, each once; settings are of the parts of arms that are named.

    A name, several with commas between them, or a sequence; `all` is `all_arms`, None is `arms_of`.
    """
    names = arms.split(",") if isinstance(arms, str) else arms or arms_of(has_memory)
    names = all_arms(has_memory) if list(names) == ["all"] else names
    chosen = [arm if isinstance(arm, Arm) else Arm.parse(arm, settings) for arm in names]
    for arm in chosen:
        require(
            has_memory or not any(part.needs_memory for part in arm.parts),
            f"the arm '{arm}' needs a memory and this model has none: its arms are "
            f"{', '.join(all_arms(False)[:-1])} and {all_arms(False)[-1]}. Ask for those, or train "
            "a model with model.memory_layers or model.output.",
        )
    return tuple(dict.fromkeys(chosen))
