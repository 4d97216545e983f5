"""What is said of tables that have dropped much of what they held."""

import dataclasses

import torch

from sparsemeta.config import TablesConfig
from sparsemeta.fast_weights import FastWeights
from sparsemeta.lm import insight
from sparsemeta.lm.modelling import LanguageModel
from sparsemeta.lm.text.tokenizer import ByteTokenizer
from tests.tiny import tiny_model

TOKENIZER = ByteTokenizer()


def reader():
    config = tiny_model().config
    tables = TablesConfig(orders=(0, 1, 2, 3), capacity=4096)
    model = LanguageModel(dataclasses.replace(config, output=("tables",), tables=tables), 257)
    model.tables.spell(torch.from_numpy(TOKENIZER.endings(3)))
    return model


def claims(found):
    return [claim for head in found["tables"]["heads"][1:] for claim in head["surest"]]


@torch.no_grad()
def test_a_context_that_was_dropped_is_not_made_up():
    torch.manual_seed(0)
    model, text = reader(), torch.randint(97, 101, (1, 6000))
    _, state = model(text, targets=text)
    spelt = bytes(text[0].tolist()).decode()
    found = insight.insight(state.memory, model, TOKENIZER)
    assert len(claims(found)) > 20
    for claim in claims(found):
        context = claim.get("context", "")
        assert context is None or context + claim["text"] in spelt

    layer = state.memory.layers["tables.memory"]
    listed = layer.entries()
    few = listed.where(listed.token == 97)  # what was read is known nowhere but before and at these
    dropped = FastWeights({**state.memory.layers, "tables.memory": layer.of_entries(few, layer)})
    found = insight.insight(dropped, model, TOKENIZER)
    assert {claim["text"] for claim in claims(found)} == {"a"}
    lost = [claim.get("context", "") is None for claim in claims(found)]
    assert 0 < sum(lost) < len(lost)
    assert any(line.startswith("    (not kept) -> ") for line in insight.told(found))


@torch.no_grad()
def test_of_several_streams_the_first_is_looked_at():
    model = reader()
    text = torch.tensor([[97, 98] * 20, [99, 100] * 20])
    _, state = model(text, targets=text)
    _, alone = model(text[:1], targets=text[:1])
    found, expected = (insight.insight(s.memory, model, TOKENIZER) for s in (state, alone))
    assert {claim["text"] for claim in claims(found)} == {"a", "b"}
    assert [*map(str, claims(found))] == [*map(str, claims(expected))]
