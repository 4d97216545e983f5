"""The arms of an evaluation: what a model may adapt with while it reads; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from sparsemeta.config import to_dict
from sparsemeta.errors import require
from sparsemeta.lm.scoring.arms.settings import CacheSettings, DynamicSettings

Memory = Literal["static", "document", "carried"]

MEMORY: tuple[Memory, ...] = get_args(Memory)

PARTS = (*MEMORY, "cache", "dynamic")

_IN_WORDS = {"static": "off", "document": "emptied at each text", "carried": "never emptied"}


@dataclass(frozen=True)
class Arm:
    """One way to read: the life of the memory, and what adapts beside it.

    Its name joins the parts with plus signs; `static` goes without saying where there are others.
    """

    memory: Memory = "static"
    """static: off; document: emptied at each text; carried: never emptied."""
    cache: CacheSettings | None = None
    """Whether a neural cache is mixed in."""
    dynamic: DynamicSettings | None = None
    """Whether gradients change the weights while reading."""

    def __str__(self) -> str:
        adapts = [part for part in ("cache", "dynamic") if getattr(self, part)]
        return "+".join(([] if adapts and self.memory == "static" else [self.memory]) + adapts)

    @classmethod
    def parse(
        cls,
        name: str,
        cache: CacheSettings = CacheSettings(),  # noqa: B008, a frozen value
        dynamic: DynamicSettings = DynamicSettings(),  # noqa: B008
    ) -> Arm:
        """The arm of a name such as `carried+dynamic`, parts in any order, with these settings.

        Raises:
            ConfigError: a part is unknown, named twice, or a second policy for the memory.
        """
        parts = name.split("+")
        for part in parts:
            require(
                part in PARTS,
                f"unknown arm {part!r}. The arms are {', '.join(PARTS)}, and several joined by "
                "plus signs, such as carried+dynamic.",
            )
        memory = [part for part in parts if part in MEMORY]
        require(
            len(set(parts)) == len(parts) and len(memory) <= 1,
            f"the arm {name!r} names {' and '.join(parts)}. Name each part once, and one of "
            f"{', '.join(MEMORY)} at most.",
        )
        return cls(
            memory=cast(Memory, memory[0]) if memory else "static",
            cache=cache if "cache" in parts else None,
            dynamic=dynamic if "dynamic" in parts else None,
        )

    def policy(self, context: str, has_memory: bool) -> str:
        """What its predictions can draw on, in words.

        Args:
            context: what the model itself looks back on.
            has_memory: whether the model has a memory.
        """
        words = [
            "one pass, left to right, each token scored before it is read",
            context,
            f"memory: {_IN_WORDS[self.memory] if has_memory else 'none'}",
        ]
        if self.cache:
            words.append(
                f"cache: last {self.cache.size:,} tokens, across texts, weight "
                f"{self.cache.weight:g}, theta {self.cache.theta:g}"
            )
        if self.dynamic:
            words.append(
                f"weights: updated every {self.dynamic.segment} tokens, across texts, rate "
                f"{self.dynamic.rate:g}, decay {self.dynamic.decay:g}"
            )
        return "; ".join(words)

    def settings(self) -> dict[str, Any]:
        """The settings of its parts, as plain dictionaries."""
        parts = {"cache": self.cache, "dynamic": self.dynamic}
        return {name: to_dict(part) for name, part in parts.items() if part}


def arms_of(has_memory: bool) -> tuple[str, ...]:
    """The arms that need a forward pass alone, which are those read unless others are named."""
    return (*MEMORY, "cache") if has_memory else ("static", "cache")


def all_arms(has_memory: bool) -> tuple[str, ...]:
    """Those, the ones that also need gradients, and the combinations."""
    alone = (*arms_of(has_memory), "dynamic", "cache+dynamic")
    beside = ("carried+cache", "carried+dynamic", "carried+cache+dynamic")
    return (*alone, *beside) if has_memory else alone
