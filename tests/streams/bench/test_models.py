"""Models that differ in what they remember with, and in nothing else."""

from dataclasses import replace

import pytest
import torch

from sparsemeta.config import RowsConfig
from sparsemeta.streams import predictions
from sparsemeta.streams.bench import Form, forms
from sparsemeta.streams.bench.contenders import held
from sparsemeta.streams.learners import DenseCode, LSTMMemory
from tests.streams.bench.small import MEMORY, small

ROWS = RowsConfig(half_lives=(50.0,), key_width=9)
BENCH = small(forms=forms(replace(MEMORY, slots=64), MEMORY, linear=8, lstm=8, rows=ROWS))


def build(name, rate=0.5):
    torch.manual_seed(0)
    return BENCH.network.build(BENCH.forms[name], rate)


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def test_dense_controls_are_as_wide_as_the_sparse_memory_beside_them():
    equal = build("sparse-equal")
    for name in ("sign", "centred-relu", "soft-threshold"):
        model = build(name)
        assert isinstance(model.memory.addressing, DenseCode)
        assert parameters(model) == parameters(equal)
        assert model.initial_state(1).memory.nbytes == equal.initial_state(1).memory.nbytes
    assert BENCH.forms["linear"].memory.addressing == "dense"
    assert BENCH.forms["additive"].memory == replace(BENCH.forms["sparse"].memory, rule="hebbian")
    assert isinstance(build("lstm").memory, LSTMMemory)


def test_rows_do_without_a_memory():
    model = build("rows", 0.2)
    assert model.memory is None
    rate = model.rows.rate(torch.randn(3, 8)).sigmoid()
    torch.testing.assert_close(rate, torch.full_like(rate, 0.2))
    assert not BENCH.forms["rows"].dense
    both = BENCH.network.build(replace(BENCH.forms["sparse"], rows=ROWS), 0.2)
    assert set(both.initial_state(1).memory.layers) == {"hidden.memory", "rows.memory"}


def test_the_librarys_own_stand_out():
    assert [name for name, form in BENCH.forms.items() if form.bold] == [
        *("sparse", "sparse-equal", "rows")
    ]


@pytest.mark.parametrize("name", ["sparse", "linear", "sign"])
def test_a_network_that_recalls_does_so_untrained(name):
    network = replace(BENCH.network, recalls=True)
    torch.manual_seed(0)
    model = network.build(BENCH.forms[name], 0.9)
    x, label = torch.randn(1, 1, 8).repeat(1, 2, 1), torch.tensor([[3, 3]])
    logits, _ = model(x, label, torch.ones(1, 2).bool())
    assert logits[0].argmax(-1)[1] == 3
    logits[0, 1, 0].backward()
    assert model.memory.addressing.query.weight.grad is not None
    assert model.memory.output.weight.grad is None
    assert model.memory.meta_learner.value.weight.grad is None
    network.build(BENCH.forms["lstm"], 0.9)


def test_a_linear_key_that_recalls_begins_with_the_angles_of_its_inputs():
    form = Form(
        replace(MEMORY, slots=8, heads=1, key_width=8, value_width=4, addressing="dense", active=1)
    )
    model = replace(BENCH.network, recalls=True).build(form, 0.9)
    x = torch.randn(1, 6, 8)
    _, weight = model.memory.addressing(x)
    key, expected = weight[0, :, 0], torch.nn.functional.normalize(x[0], dim=-1)
    torch.testing.assert_close(key @ key.mT, expected @ expected.mT)


def test_an_equal_memory_is_not_listed_twice():
    assert "sparse-equal" not in forms(MEMORY, MEMORY, linear=8, lstm=8)


@pytest.mark.parametrize("strength", [0.01, 1.0])
def test_a_held_model_writes_with_that_strength_alone(strength):
    model = build("sparse")
    torch.nn.init.normal_(model.memory.meta_learner.gates.weight)
    x = torch.randn(3, 2, 5, 8)
    before = model.memory.meta_learner(*x).rate
    rate = held(model, strength).memory.meta_learner(*x).rate
    torch.testing.assert_close(rate, torch.full_like(rate, strength))
    torch.testing.assert_close(model.memory.meta_learner(*x).rate, before)  # it is a copy


def test_rows_beside_a_memory_are_held_with_it():
    model = BENCH.network.build(replace(BENCH.forms["sparse"], rows=ROWS), 0.5)
    torch.nn.init.normal_(model.rows.rate.weight)
    x = torch.randn(3, 2, 5, 8)
    after = held(model, 0.01)
    for rate in (after.rows.rate(x[0]).sigmoid(), after.memory.meta_learner(*x).rate):
        torch.testing.assert_close(rate, torch.full_like(rate, 0.01))


def test_predictions_are_among_the_labels_that_there_are():
    stream, model = BENCH.train.sample(8, torch.Generator().manual_seed(0)), build("sparse")
    torch.nn.init.normal_(model.memory.output.weight)
    assert predictions(model, stream).max() == 3
    assert predictions(model, stream, outputs=2).max() == 1


def test_what_a_form_says():
    assert str(BENCH.forms["sparse"]) == "1 x 64 slots, 4 written"
    assert str(BENCH.forms["sign"]) == "1 x 32 slots"
    assert str(BENCH.forms["additive"]).endswith(", additive")
    assert str(BENCH.forms["lstm"]) == "LSTM of width 8"
    assert str(BENCH.forms["rows"]) == "a row of 9 for each label"
    assert str(Form(replace(MEMORY, addressing="signed"))) == "1 x 32 slots, 4 written, signed"
