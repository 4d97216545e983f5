"""A network that is taught step by step: what it may know, when, and how it is carried on."""

import pytest
import torch

from sparsemeta.errors import ConfigError
from sparsemeta.nn import MemoryConfig, PrototypeMemory, RowsConfig, memory_off
from sparsemeta.nn.stream_learner import LessonLearner, StreamLearner

CONFIG = MemoryConfig(slots=20, active=3, heads=2, key_width=8, value_width=5, retention=True)

ROWS = RowsConfig(half_lives=(9.0, 0.0), key_width=6)


def make(kind="labels", **options):
    """A learner of width 8 with every slow weight drawn at random, in float64."""
    torch.manual_seed(1)
    rows = PrototypeMemory(8, 4, ROWS) if "rows" in kind else None
    config = None if kind == "rows" else CONFIG
    kind = "values" if kind == "values" else "labels"
    learner = StreamLearner(8, config, outputs=4, kind=kind, rows=rows, **options).double()
    for parameter in learner.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return learner


def stream(kind="labels", time=12, batch=3):
    x = torch.randn(batch, time, 8, dtype=torch.float64)
    label, value = torch.randint(4, (batch, time)), torch.randn(batch, time, 4, dtype=x.dtype)
    return x, value if kind == "values" else label, torch.rand(batch, time) < 0.6


def tables(state):
    """All that was written."""
    return {k: v for k, v in state.memory.tensors().items() if k.endswith("table")}


both = pytest.mark.parametrize("kind", ["labels", "values", "rows", "labels and rows"])
of_labels = pytest.mark.parametrize("kind", ["labels", "rows", "labels and rows"])


@both
def test_step_by_step_is_one_pass(kind):
    learner, (x, feedback, taught) = make(kind), stream(kind)
    whole, final = learner(x, feedback, taught)
    state, parts = None, []
    for t in range(x.shape[1]):
        now = slice(t, t + 1)
        part, state = learner(x[:, now], feedback[:, now], taught[:, now], state)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-10, atol=1e-12)
    for name, tensor in final.memory.tensors().items():
        torch.testing.assert_close(state.memory.tensors()[name], tensor, rtol=1e-10, atol=1e-12)
    assert torch.equal(state.feedback, final.feedback)
    assert torch.equal(state.taught, final.taught)


@both
def test_a_prediction_knows_no_feedback_of_its_own_step_or_later(kind):
    learner, (x, feedback, _) = make(kind), stream(kind)
    always = torch.ones(x.shape[:2], dtype=torch.bool)
    other = feedback.clone()
    other[:, 7:] = (other[:, 7:] + 1) % 4
    before, after = learner(x, feedback, always)[0], learner(x, other, always)[0]
    assert torch.equal(before[:, :8], after[:, :8])
    assert (before[:, 8:] != after[:, 8:]).any()


@both
def test_what_is_not_taught_is_not_seen_and_not_written(kind):
    learner, (x, feedback, taught) = make(kind), stream(kind)
    hidden = torch.where(taught[..., None] if kind == "values" else taught, feedback, 1)
    predicted, state = learner(x, feedback, taught)
    torch.testing.assert_close(learner(x, hidden, taught)[0], predicted, rtol=0, atol=0)
    never = torch.zeros_like(taught)
    _, after = learner(x, feedback, never, state)
    again, _ = learner(x, feedback, never, after)
    backwards, _ = learner(x.flip(1), feedback, never, after)
    torch.testing.assert_close(backwards.flip(1), again)
    assert all(table.any() for table in tables(after).values())


@of_labels
def test_questions_between_lessons_leave_no_trace(kind):
    """Asking changes nothing: the lessons alone give the same memory."""
    learner, (x, feedback, _) = make(kind), stream(batch=1)
    taught = torch.arange(12)[None] % 3 == 0
    _, asked = learner(x, feedback, taught)
    _, plain = learner(x[taught][None], feedback[taught][None], taught[taught][None])
    _, plain = learner(x[:, -2:], feedback[:, -2:], taught[:, -2:], plain)
    torch.testing.assert_close(tables(asked), tables(plain), rtol=1e-10, atol=1e-12)


def test_one_lesson_is_recalled_where_it_was_learned():
    torch.manual_seed(0)
    learner = StreamLearner(16, MemoryConfig(slots=256, active=2, heads=1, value_width=16), 5)
    with torch.no_grad():
        learner.memory.output.weight.copy_(torch.linalg.pinv(_value_weight(learner)))
    x, label = torch.randn(1, 5, 16), torch.tensor([[3, 0, 4, 1, 2]])
    taught = torch.ones_like(label, dtype=torch.bool)
    _, state = learner(x, label, taught)
    logits, _ = learner(x, label, ~taught, state)
    assert torch.equal(logits.argmax(-1), label)


def test_rows_recall_from_the_start_and_only_what_was_taught():
    rows = PrototypeMemory(16, 5, RowsConfig(half_lives=(100.0,), key_width=17))
    learner = StreamLearner(16, None, 5, rows=rows)
    x, label = torch.randn(1, 3, 16), torch.tensor([[3, 0, 4]])
    taught = torch.ones_like(label, dtype=torch.bool)
    logits, state = learner(x, label, taught)
    assert not logits[0, 0].any()
    logits, _ = learner(x, label, ~taught, state)
    assert torch.equal(logits.argmax(-1), label)
    assert not logits[..., [1, 2]].any()


def test_rows_beside_a_memory_add_to_its_logits():
    learner, (x, label, taught) = make("labels and rows"), stream()
    together, state = learner(x, label, taught)
    assert list(state.memory.layers) == ["hidden.memory", "rows.memory"]
    with memory_off(learner, ["rows"]):
        hidden, _ = learner(x, label, taught)
    with memory_off(learner, ["hidden"]):
        rows, _ = learner(x, label, taught)
    assert hidden.any()
    assert rows.any()
    torch.testing.assert_close(together, hidden + rows)


def test_what_makes_no_sense_is_refused():
    rows = PrototypeMemory(8, 4, ROWS)
    with pytest.raises(ConfigError, match="rows stand for labels"):
        StreamLearner(8, CONFIG, outputs=4, kind="values", rows=rows)
    with pytest.raises(ConfigError, match="a learner of no memory learns nothing"):
        StreamLearner(8, None, outputs=4)


def _value_weight(learner):
    return learner.memory.meta_learner.value.weight[:, 16:]


def test_a_new_learner_prefers_no_label():
    learner = StreamLearner(8, CONFIG, outputs=4)
    x, label, taught = stream()
    assert not learner(x.float(), label, taught)[0].any()


def test_an_encoder_sees_single_inputs():
    encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 8))
    learner = StreamLearner(8, CONFIG, outputs=4, encoder=encoder)
    _, label, taught = stream()
    images = torch.randn(3, 12, 3, 4)
    predicted, _ = learner(images, label, taught)
    inner = StreamLearner(8, CONFIG, outputs=4)
    inner.load_state_dict({k: v for k, v in learner.state_dict().items() if "encoder" not in k})
    embedded = encoder(images.flatten(0, 1)).view(3, 12, 8)
    torch.testing.assert_close(inner(embedded, label, taught)[0], predicted)


def test_a_lesson_does_not_depend_on_what_is_asked_next():
    learner = LessonLearner(8, CONFIG)
    for parameter in learner.parameters():
        torch.nn.init.normal_(parameter)
    previous, x, other, feedback = torch.randn(4, 1, 6, 8)
    for one, two in zip(
        learner(previous, x, feedback), learner(previous, other, feedback), strict=True
    ):
        assert torch.equal(one, two)


def test_the_rate_at_the_start_is_the_one_asked_for():
    learner = StreamLearner(8, CONFIG, outputs=4, rate=0.1)
    previous, x, feedback = torch.randn(3, 1, 6, 8)
    made = learner.memory.meta_learner(previous, x, feedback)
    torch.testing.assert_close(made.rate, torch.full((1, 6, 2), 0.1))
    assert made.log_retention.exp().min() > 0.98
    with pytest.raises(ConfigError, match=r"rate = 1\.0 must lie between 0 and 1"):
        StreamLearner(8, CONFIG, outputs=4, rate=1.0)
