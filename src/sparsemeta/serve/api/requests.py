"""What the calls that write have in common, as they are asked."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from sparsemeta.lm import Sampling

LONGEST = 4096
"""Tokens that one call may write."""
COLDEST = 0.01
"""Temperatures below it are taken for 0: the likeliest token, always."""

Short = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Many = Annotated[int, Field(ge=0, le=LONGEST)]
Nothing = Annotated[list[Any], Field(max_length=0)] | None
Zero = Annotated[float, Field(ge=0, le=0)] | None


class Body(BaseModel):
    """A body of JSON; what is not known is passed over, as OpenAI's clients send much."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class StreamOptions(Body):
    """What is streamed besides."""

    include_usage: bool = False


class Written(Body):
    """How a text is written, and by what memory."""

    model: Short
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    stream: bool | None = None
    memory: Short | None = None
    """The id or the name of a memory; the owner's default one if left out."""

    def sampling(self, tokens: int, seed: int | None = None) -> Sampling:
        """How tokens are chosen."""
        temperature = 1.0 if self.temperature is None else self.temperature
        greedy = temperature < COLDEST
        return Sampling(
            tokens=tokens,
            temperature=1.0 if greedy else temperature,
            top_p=self.top_p,
            greedy=greedy,
            seed=seed,
        )


class Stopped(Written):
    """The same, where strings may end a text, and a seed may decide it."""

    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Short | Annotated[list[Short], Field(max_length=4)] | None = None
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = None
    presence_penalty: Zero = None
    frequency_penalty: Zero = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """All strings that end the text."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def counts(self) -> bool:
        """Whether the usage is streamed."""
        return bool(self.stream_options and self.stream_options.include_usage)
