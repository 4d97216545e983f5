import io
import json
import math

import numpy as np
import pytest
from rich.console import Console

from sparsemeta.lm.evaluation import Cache, Comparison
from sparsemeta.lm.evaluation.breakdown import Gain
from sparsemeta.lm.evaluation.comparison import LISTED
from sparsemeta.lm.evaluation.evaluator import Trial, Tuned
from sparsemeta.lm.scores import Reading, Score


def score(name, nats, seconds=2.0):
    return Score(name, np.array(nats, np.float32), 3, 4, 8, seconds, 2**20)


def reading(arm, nats, seconds=2.0, texts=2):
    scores = tuple(score(f"{i}.txt", nats, seconds) for i in range(texts))
    return Reading(arm, f"memory: {arm}", scores)


HALF = {"static": reading("static", [math.log(8)] * 4), "carried": reading("carried", [0.0], 6.0)}


def to_dict(readings, gains=()):
    found = Comparison(readings)
    found.gains = gains
    return found.to_dict()


def reference(readings):
    return Comparison(readings).reference


def test_ratios_are_to_the_static_reading():
    data = to_dict(HALF)
    assert data["reference"] == "static"
    assert data["arms"]["carried"]["relative_perplexity"] == pytest.approx(1 / 8)
    assert data["arms"]["carried"]["relative_cost"] == pytest.approx(3)
    assert data["arms"]["static"]["relative_perplexity"] == 1


def test_reference_is_the_best_there_is():
    carried, static = reading("carried", [1.0]), reading("static", [1.0])
    own = {"carried": carried, "static": static}
    assert reference({"carried": carried}) == "carried"
    assert reference(own) == "static"
    assert reference(own | {"dense": carried}) == "static"  # another model, with a memory
    assert reference(own | {"dense": carried, "plain": static, "other": static}) == "plain"


def test_data_of_a_text():
    text = to_dict(HALF)["arms"]["static"]["texts"][1]
    assert text == {
        "name": "1.txt",
        "nats": pytest.approx(4 * math.log(8)),
        "tokens": 4,
        "words": 3,
        "words_eos": 4,
        "bytes": 8,
        "bits_per_byte": pytest.approx(1.5),
        "perplexity": pytest.approx(8),
        "word_perplexity": pytest.approx(8),
        "seconds": 2.0,
        "tokens_per_second": 2.0,
        "state_bytes": 2**20,
    }


@pytest.mark.parametrize("nats", [[], [math.nan], [math.inf], [4000.0]])
def test_what_is_not_finite_is_null(nats):
    text = to_dict({"static": reading("static", nats)})
    written = json.dumps(text, allow_nan=False)
    assert json.loads(written)["arms"]["static"]["total"]["perplexity"] is None


def test_data_of_classes_of_words():
    gain = Gain("occurrences", ("0", "1"), np.array([3, 0]), {"static": np.array([1.5, math.nan])})
    assert to_dict(HALF, [gain])["words"] == [
        {
            "by": "occurrences",
            "classes": ["0", "1"],
            "words": [3, 0],
            "nats_per_word": {"static": [1.5, None]},
        }
    ]


def test_data_has_the_settings_and_the_context():
    arm = Reading("cache", "what it knew", HALF["static"].texts, {"cache": {"size": 3}})
    data = to_dict({"cache": arm})["arms"]["cache"]
    assert (data["settings"], data["context"]) == ({"cache": {"size": 3}}, "what it knew")


def shown(readings):
    return printed(Comparison(readings).table())


def printed(found):
    console = Console(width=140, file=io.StringIO())
    console.print(found)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("texts", "rows"),
    [(1, 0), (2, 2), (LISTED, LISTED), (LISTED + 1, 0)],
)
def test_few_texts_have_rows_of_their_own(texts, rows):
    output = shown({"carried": reading("carried", [1.0], texts=texts)})
    assert output.count(".txt") == rows
    assert output.count("total") == 1


def test_table_compares():
    total = next(line for line in shown(HALF).split("total")[1].splitlines() if "carried" in line)
    assert " ".join(total.split()) == "carried 0 0.000 1.00 1.00 -87.5% 0 3.00x 1.00 MiB"


def test_summary_prints_the_policy_of_every_reading():
    assert Comparison(HALF).summary().splitlines() == [
        "2 texts: 8 tokens, 6 words (8 with ends of lines, which `per word` counts), 16 bytes; "
        "cost: relative to static",
        "static: memory: static",
        "carried: memory: carried",
    ]


def test_grid_is_shown_with_the_choice():
    nats = {(2.0, 0.1): 3.0, (2.0, 0.2): 2.5, (4.0, 0.1): 1.5, (4.0, 0.2): math.nan}
    trials = (Trial(Cache(theta=t, weight=w), n) for (t, w), n in nats.items())
    lines = printed(Tuned("carried", tuple(trials)).table()).splitlines()
    assert lines[0].strip() == "cache tuned, memory carried: nats per token of validation"
    assert [line.split() for line in lines[1:4]] == [
        ["theta,", "weight", "0.1", "0.2"],
        ["2", "3.0000", "2.5000"],
        ["4", "1.5000*", "nan"],
    ]
