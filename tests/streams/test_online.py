"""Learning example by example: as the model does in one pass, and as River and users ask it to."""

import numpy as np
import pytest
import torch

from sparsemeta.config import MemoryConfig, RowsConfig
from sparsemeta.errors import ConfigError, StateError, StreamError
from sparsemeta.files import DIGESTS
from sparsemeta.nn import PrototypeMemory, StreamLearner
from sparsemeta.streams import OnlineClassifier, OnlineRegressor

CONFIG = MemoryConfig(slots=1024, active=2, heads=1, key_width=8, value_width=8)
WIDTH = 8


def model(kind="labels", outputs=5, seed=1):
    """A learner that recalls what it was taught, without training; rows are of labels, too."""
    torch.manual_seed(seed)
    if kind == "rows":
        config = RowsConfig(half_lives=(20.0,), key_width=WIDTH + 1)
        return StreamLearner(WIDTH, None, outputs, rows=PrototypeMemory(WIDTH, outputs, config))
    made = StreamLearner(WIDTH, CONFIG, outputs, kind=kind)
    projection = made.memory.meta_learner.value.weight[:, WIDTH:]
    with torch.no_grad():
        made.memory.output.weight.copy_(torch.linalg.pinv(projection))
    return made


def examples(count=12):
    x = np.random.default_rng(0).normal(size=(count, WIDTH)).astype(np.float32)
    return x, ["ab", 7, None, ("a", 1), "ab", 7, "ab", None, 3.5, 3.5, 7, "ab"][:count]


def table(learner):
    (layer,) = learner.state.stream.memory.layers.values()
    return layer.table


of_labels = pytest.mark.parametrize("kind", ["labels", "rows"])


@of_labels
def test_a_classifier_gives_what_its_model_gives_in_one_pass(kind):
    learner, (x, y) = OnlineClassifier(model(kind)), examples()
    names = list(dict.fromkeys(y))
    index = torch.tensor([[names.index(label) for label in y]])
    logits, _ = learner.model(torch.from_numpy(x)[None], index, torch.ones(1, 12).bool())
    for t, label in enumerate(y):
        known = len(set(y[:t]))
        expected = logits[0, t, :known].softmax(-1).tolist()
        found = learner.predict_proba_one(x[t])
        assert list(found) == names[:known]
        assert list(found.values()) == pytest.approx(expected, abs=1e-5)
        learner.learn_one(x[t], label)


def test_a_regressor_gives_what_its_model_gives_in_one_pass():
    learner, (x, _) = OnlineRegressor(model("values", outputs=2)), examples()
    y = np.random.default_rng(1).normal(size=(12, 2)).astype(np.float32)
    told = torch.ones(1, 12).bool()
    values, _ = learner.model(torch.from_numpy(x)[None], torch.from_numpy(y)[None], told)
    for t in range(12):
        np.testing.assert_allclose(learner.predict_one(x[t]), values[0, t].detach(), atol=1e-5)
        learner.learn_one(x[t], y[t])


@of_labels
def test_what_was_just_learned_is_known(kind):
    learner, (x, y) = OnlineClassifier(model(kind)), examples(4)
    assert learner.predict(x) == [None] * 4
    for t, label in enumerate(y):
        learner.learn_one(x[t], label)
        assert learner.predict_one(x[t]) == label
    assert learner.predict(x) == y


def test_what_changes_its_meaning_is_learned_anew():
    learner, (x, y) = OnlineClassifier(model()), examples(4)
    learner.partial_fit(x, y)
    for _ in range(4):
        learner.learn_one(x[2], "ab")
    assert learner.predict(x) == [y[0], y[1], "ab", y[3]]


@of_labels
def test_labels_that_are_exchanged_are_learned_anew(kind):
    learner, (x, y) = OnlineClassifier(model(kind)), examples(4)
    learner.partial_fit(x, y)
    exchanged = [*y[2:], *y[:2]]
    for _ in range(4):
        learner.partial_fit(x, exchanged)
    assert learner.predict(x) == exchanged


@of_labels
def test_predicting_changes_nothing(kind):
    learner, (x, y) = OnlineClassifier(model(kind)), examples()
    learner.partial_fit(x[:6], y[:6])
    before = learner.state
    first, backwards = learner.predict(x), learner.predict(x[::-1])
    assert learner.state is before
    assert first == backwards[::-1] == [learner.predict_one(one) for one in x]


@of_labels
def test_examples_at_once_are_examples_one_by_one(kind):
    together, single = (OnlineClassifier(model(kind)) for _ in range(2))
    x, y = examples()
    assert together.partial_fit(x, y) is together
    for one, label in zip(x, y, strict=True):
        single.learn_one(one, label)
    assert together.state.labels == single.state.labels
    torch.testing.assert_close(table(together), table(single))


def test_the_weights_never_change():
    learner, (x, y) = OnlineClassifier(model()), examples()
    learner.partial_fit(x, y)
    fresh = model().state_dict()
    assert all(torch.equal(fresh[k], tensor) for k, tensor in learner.model.state_dict().items())


def test_one_label_too_many_is_refused_and_nothing_is_learned():
    learner, (x, y) = OnlineClassifier(model(outputs=3)), examples(3)
    learner.partial_fit(x, y)
    before = learner.state
    with pytest.raises(StreamError, match="'new' is label number 4, but this model tells 3 apart"):
        learner.partial_fit(x, ["ab", 7, "new"])
    assert learner.state is before


def test_labels_of_numpy_are_plain_labels():
    learner, (x, _) = OnlineClassifier(model()), examples(3)
    learner.partial_fit(x, np.array([4, 2, 4]))
    learner.partial_fit(torch.from_numpy(x), torch.tensor([4, 2, 4]))
    assert learner.state.labels == (4, 2)
    assert [type(label) for label in learner.predict(x)] == [int] * 3


def test_dictionaries_are_read_by_name():
    def read(x, **options):
        learner = OnlineClassifier(model(), **options)
        learner.learn_one(x, "any")
        return learner.state.stream.memory.layers["memory"].last[0].tolist()

    x = dict(zip("hgfedcba", range(8), strict=True))
    assert read(x) == [7, 6, 5, 4, 3, 2, 1, 0]  # in alphabetical order
    assert read(x, features="hgfedcba") == [0, 1, 2, 3, 4, 5, 6, 7]
    assert read({"h": 2.5, "unheard": 1}, features="abcdefgh") == [0] * 7 + [2.5]


@of_labels
def test_a_state_is_a_value_to_return_to(kind):
    learner, (x, y) = OnlineClassifier(model(kind)), examples()
    learner.partial_fit(x[:3], y[:3])
    kept, known = learner.state, learner.predict(x)
    learner.partial_fit(x[3:], y[3:])
    assert learner.predict(x) != known
    learner.state = kept
    assert learner.predict(x) == known


@pytest.mark.parametrize(
    ("kind", "learner", "y"),
    [
        ("labels", OnlineClassifier, ["a", 7, None, 2.5, "a", 7, "a"]),
        ("rows", OnlineClassifier, ["a", 7, None, 2.5, "a", 7, "a"]),
        ("values", OnlineRegressor, [0.1, 2.0, -3.0, 1.5, 0.1, 0.2, 0.3]),
    ],
)
def test_a_saved_learner_goes_on_bit_for_bit(tmp_path, kind, learner, y):
    outputs = 1 if kind == "values" else 5
    one, other = (learner(model(kind, outputs)) for _ in range(2))
    x, _ = examples(7)
    one.partial_fit(x[:4], y[:4])
    one.save(tmp_path / "learned")
    other.load(tmp_path / "learned")
    assert list(one.predict(x)) == list(other.predict(x))  # the last lesson is still to be written
    for each in (one, other):
        each.partial_fit(x[4:], y[4:])
    assert torch.equal(table(one), table(other))
    assert one.state.labels == other.state.labels


def test_what_another_model_learned_is_refused(tmp_path):
    learner, (x, y) = OnlineClassifier(model()), examples(3)
    learner.partial_fit(x, y).save(tmp_path / "learned")
    with pytest.raises(StateError, match="belongs to another model"):
        OnlineClassifier(model(seed=2)).load(tmp_path / "learned")


def test_another_number_in_a_file_is_seen(tmp_path):
    learner, (x, y) = OnlineClassifier(model()), examples(3)
    learner.partial_fit(x, y).save(tmp_path / "learned")
    file = tmp_path / "learned" / "learner.json"
    file.write_text(file.read_text().replace("7", "8"))
    with pytest.raises(StateError, match=r"learner.json: is not what was saved"):
        learner.load(tmp_path / "learned")


@pytest.mark.parametrize("text", ["", "[]", '{"labels": []}', '{"labels":[],"feedback":[[1,2]]}'])
def test_a_damaged_file_is_refused_and_nothing_is_lost(tmp_path, text):
    learner, (x, y) = OnlineClassifier(model()), examples(3)
    learner.partial_fit(x, y).save(tmp_path / "learned")
    (tmp_path / "learned" / DIGESTS).unlink()  # else it is seen at once
    (tmp_path / "learned" / "learner.json").write_text(text)
    before = learner.state
    with pytest.raises(StateError, match="damaged or not what a learner has saved"):
        learner.load(tmp_path / "learned")
    assert learner.state is before
    with pytest.raises(StateError, match="no such memory file"):
        learner.load(tmp_path / "elsewhere")


def test_a_label_that_cannot_be_saved_is_named(tmp_path):
    learner, (x, y) = OnlineClassifier(model()), examples(4)
    learner.partial_fit(x, y)
    with pytest.raises(StateError, match=r"the label \('a', 1\) is neither text nor a number"):
        learner.save(tmp_path / "learned")
    assert not (tmp_path / "learned").exists()


def test_the_kinds_are_not_mixed_up():
    with pytest.raises(ConfigError, match="OnlineRegressor needs a StreamLearner of values"):
        OnlineRegressor(model())


def test_river_scores_both_kinds():
    pytest.importorskip("river")
    from river import evaluate, metrics, preprocessing

    x, _ = examples(4)
    dataset = [
        (dict(zip("abcdefgh", x[t % 4].tolist(), strict=True)), "pqrs"[t % 4]) for t in range(40)
    ]
    classifier = OnlineClassifier(model())
    accuracy = evaluate.progressive_val_score(dataset, classifier, metrics.Accuracy())
    assert accuracy.get() == pytest.approx(36 / 39)  # before its first label it says nothing
    scaled = preprocessing.StandardScaler() | OnlineClassifier(model())
    assert evaluate.progressive_val_score(dataset, scaled, metrics.CrossEntropy()).get() < 9
    values = [(one, float(label in "pq")) for one, label in dataset]
    regressor = OnlineRegressor(model("values", outputs=1))
    assert evaluate.progressive_val_score(values, regressor, metrics.MAE()).get() > 0
    with pytest.raises(ValueError, match="not compatible"):
        evaluate.progressive_val_score(dataset, regressor, metrics.Accuracy())
