"""Chats as text: the template by which a model was taught to chat."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sparsemeta.errors import ConfigError

Message = Mapping[str, str]
_SAID = "\ufdd0said\ufdd0"  # no text has these: they are no characters


class ChatTemplate:
    """Writes chats as a model knows them.

    Args:
        source: in Jinja, as Hugging Face has it: of `messages` and `add_generation_prompt`.

    Raises:
        ConfigError: it is no template.
    """

    def __init__(self, source: str):
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = _refuse
        try:
            self._template = environment.from_string(source)
        except TemplateError as error:
            raise ConfigError(f"the chat template cannot be read: {error}") from None

    @classmethod
    def read(cls, path: Path) -> "ChatTemplate":
        """The template of a file."""
        try:
            return cls(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: cannot be read as a chat template ({error})") from None

    def text(self, messages: Sequence[Message]) -> str:
        """A whole chat, up to where the model is to answer.

        Raises:
            ConfigError: the template refuses such a chat.
        """
        options: dict[str, Any] = {"add_generation_prompt": True, "bos_token": "", "eos_token": ""}
        try:
            return self._template.render(messages=[dict(m) for m in messages], **options)
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise ConfigError(
                f"the model's chat template refuses these messages: {error}"
            ) from None

    def continued(self, messages: Sequence[Message]) -> str:
        """What new messages add to a chat of which the model's answer came last."""
        before = ({"role": "user", "content": "."}, {"role": "assistant", "content": _SAID})
        return self.text([*before, *messages]).rpartition(_SAID)[2]


def _refuse(message: str) -> None:
    raise TemplateError(message)
