"""What a model says of a stream."""

import pytest
import torch

from sparsemeta.config import MemoryConfig
from sparsemeta.nn.stream_learner import StreamLearner
from sparsemeta.streams import SoftmaxSGD, predictions, score
from tests.streams.tasks import SMALL, seeded


@pytest.mark.parametrize(("name", "width"), [("rebinding", 4), ("sine", 1)])
def test_predictions_are_like_targets_however_long_a_segment(name, width):
    task = SMALL[name]
    kind = "labels" if name == "rebinding" else "values"
    config = MemoryConfig(slots=16, active=2, heads=1, key_width=4, value_width=4)
    model = StreamLearner(width, config, task.outputs, kind=kind)
    torch.nn.init.normal_(model.memory.output.weight)
    stream = task.sample(3, seeded())
    found = predictions(model, stream)
    assert found.shape == stream.target.shape
    assert found.dtype == stream.target.dtype
    torch.testing.assert_close(predictions(model, stream, segment=7), found)
    assert score(stream, found).isfinite().all()
    assert model.training


def test_an_untrained_classifier_is_scored_alike():
    stream = SMALL["rebinding"].sample(3, seeded())
    found = predictions(SoftmaxSGD(3, rate=0.5), stream)
    assert score(stream, found).mean() > 0.4  # chance is 1/3
