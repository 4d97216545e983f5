"""Tokens and what is known of them, as OpenAI writes it."""

from collections.abc import Sequence
from typing import Any

from sparsemeta.lm import Tokenizer
from sparsemeta.serve.engine import Choice

LEAST = -9999.0
"""Stands for the logarithm of nothing, which JSON cannot hold."""


def spelt(tokenizer: Tokenizer, token: int) -> str:
    """A token as a text; part of a character is told by its bytes, so that no two look alike."""
    text = tokenizer.decode([token])
    if "\ufffd" not in text:
        return text
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in tokenizer.spell([token]))


def log_p(value: float) -> float:
    """A logarithm that JSON can hold."""
    return max(value, LEAST)


def completion_logprobs(tokenizer: Tokenizer, tokens: Sequence[Choice], top: int) -> dict[str, Any]:
    """As of completions; `top` likely tokens, and the one that came."""
    texts, offsets, offset = [], [], 0
    likely: list[dict[str, float] | None] = []
    for one in tokens:
        text = spelt(tokenizer, one.token)
        texts.append(text)
        offsets.append(offset)
        offset += len(text)
        if one.log_p is None:
            likely.append(None)
            continue
        best = {spelt(tokenizer, token): log_p(value) for token, value in one.top[:top]}
        likely.append(best | {text: log_p(one.log_p)} if top else None)
    return {
        "tokens": texts,
        "token_logprobs": [None if t.log_p is None else log_p(t.log_p) for t in tokens],
        "top_logprobs": likely,
        "text_offset": offsets,
    }


def chat_logprobs(tokenizer: Tokenizer, tokens: Sequence[Choice], top: int) -> list[dict[str, Any]]:
    """As of chats and responses."""

    def told(token: int, value: float | None) -> dict[str, Any]:
        spelling = list(tokenizer.spell([token]))
        known = LEAST if value is None else log_p(value)
        return {"token": spelt(tokenizer, token), "logprob": known, "bytes": spelling}

    return [
        told(t.token, t.log_p) | {"top_logprobs": [told(*likely) for likely in t.top[:top]]}
        for t in tokens
    ]


def usage(read: int, wrote: int, known: int = 0) -> dict[str, Any]:
    """How many tokens there were; `known` had been read before, and are counted as read."""
    return {
        "prompt_tokens": read + known,
        "completion_tokens": wrote,
        "total_tokens": read + known + wrote,
        "prompt_tokens_details": {"cached_tokens": known},
    }
