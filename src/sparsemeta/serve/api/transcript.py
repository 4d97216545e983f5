"""A chat as tokens: what was read already is recognised by its text, whatever tokens it was of.

A model may spell a word by other tokens than the tokenizer takes for it, so that a chat which is
sent again is another list of tokens than the one that was learned, though it is the same text.
"""

from collections.abc import Sequence

from sparsemeta.lm import Tokenizer


def retold(tokenizer: Tokenizer, text: str, ledger: Sequence[int]) -> list[int]:
    """The tokens of a text that a separator opens, those of a ledger as far as they spell it.

    Args:
        tokenizer: of the model.
        text: all of it.
        ledger: tokens that were read, a separator first; or none.
    """
    tokens = [tokenizer.separator, *tokenizer.encode(text).tolist()]
    same = _common(tokens, ledger)
    if same == len(ledger):
        return tokens
    spelt, at = tokenizer.spell(tokens[1:]), 0
    kept = [tokenizer.separator]
    for token in ledger[1:]:
        piece = tokenizer.spell([token])
        if not spelt.startswith(piece, at):
            break
        kept.append(token)
        at += len(piece)
    while True:  # not within a character
        try:
            return [*kept, *tokenizer.encode(spelt[at:].decode("utf-8")).tolist()]
        except UnicodeDecodeError:
            at -= len(tokenizer.spell([kept.pop()]))


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    for i, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return i
    return min(len(one), len(other))
