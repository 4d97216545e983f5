import io
import json
import math

import numpy as np
import pytest
from rich.console import Console

from sparsemeta.lm.report import FEW, reference, summary, table, to_dict
from sparsemeta.lm.scores import Reading, Score


def score(name, nats, seconds=2.0):
    return Score(name, np.array(nats, np.float32), 3, 4, 8, seconds, 2**20)


def reading(arm, nats, seconds=2.0, texts=2):
    scores = tuple(score(f"{i}.txt", nats, seconds) for i in range(texts))
    return Reading(arm, f"memory: {arm}", scores)


HALF = {"static": reading("static", [math.log(8)] * 4), "carried": reading("carried", [0.0], 6.0)}


def test_ratios_are_to_the_static_reading():
    data = to_dict(HALF)
    assert data["reference"] == "static"
    assert data["arms"]["carried"]["relative_perplexity"] == pytest.approx(1 / 8)
    assert data["arms"]["carried"]["relative_cost"] == pytest.approx(3)
    assert data["arms"]["static"]["relative_perplexity"] == 1


def test_reference_is_the_best_there_is():
    one = reading("carried", [1.0])
    assert reference({"carried": one}) == "carried"
    assert reference({"carried": one, "static": one}) == "static"
    assert reference({"carried": one, "static": one, "baseline": one}) == "baseline"


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


def shown(readings):
    console = Console(width=120, file=io.StringIO())
    console.print(table(readings))
    return console.file.getvalue()


@pytest.mark.parametrize(("texts", "rows"), [(1, 0), (2, 2), (FEW, FEW), (FEW + 1, 0)])
def test_few_texts_have_rows_of_their_own(texts, rows):
    output = shown({"carried": reading("carried", [1.0], texts=texts)})
    assert output.count(".txt") == rows
    assert output.count("total") == 1


def test_table_compares():
    total = next(line for line in shown(HALF).split("total")[1].splitlines() if "carried" in line)
    assert " ".join(total.split()) == "carried 0 0.000 1.00 -87.5% 0 3.00x 1.00 MiB"


def test_summary_prints_the_policy_of_every_reading():
    assert summary(HALF).splitlines() == [
        "2 texts: 8 tokens, 6 words (8 with ends of lines), 16 bytes",
        "static: memory: static",
        "carried: memory: carried",
    ]
