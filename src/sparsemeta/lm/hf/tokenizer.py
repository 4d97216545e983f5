"""Our tokenizers as tokenizers of transformers, which encode alike."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

from sparsemeta.lm.text import EOS, UNK


def fast_tokenizer(path: Path, separator: int) -> PreTrainedTokenizerFast:
    """The tokenizer of a tokenizer.json of ours; the id `separator` also ends a text and pads.

    It puts the separator before a text, as the model was trained; not with
    `add_special_tokens=False`. The separator's spelling, in a text, is text like any other.
    """
    text = path.read_text(encoding="utf-8")
    data = json.loads(text)
    if (kind := data.get("kind")) == "bytes":
        tokenizer = _of_bytes()
    else:
        tokenizer = _of_words(data["words"]) if kind == "words" else Tokenizer.from_str(text)
    spelling = tokenizer.id_to_token(separator)
    if spelling is None:
        spelling = "<|separator|>"
        while tokenizer.token_to_id(spelling) is not None:
            spelling = f"<{spelling}>"
        tokenizer.add_special_tokens([spelling])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{spelling} $A",
        pair=f"{spelling} $A {spelling} $B",
        special_tokens=[(spelling, separator)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **dict.fromkeys(("bos_token", "eos_token", "pad_token"), spelling),
        padding_side="left",
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,
    )


def _of_bytes() -> Tokenizer:
    vocabulary = {letter: byte for byte, letter in bytes_to_unicode().items()}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _of_words(words: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, UNK))
    tokenizer.normalizer = normalizers.Replace("\n", f" {EOS} ")
    # What `str.split` splits at: a little more than the library's own white space.
    space = "".join(filter(str.isspace, map(chr, range(0x3001))))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(f"[{re.escape(space)}]+"), "removed")
    # No word holds a line feed, so the prefix is none: a space before every word but the first.
    spaced, lines = decoders.WordPiece(prefix="\n", cleanup=False), Regex(f"^ ?{EOS}$")
    parts = [spaced, decoders.Replace(lines, "\n"), decoders.Fuse(), decoders.Replace("\n ", "\n")]
    tokenizer.decoder = decoders.Sequence(parts)
    return tokenizer
