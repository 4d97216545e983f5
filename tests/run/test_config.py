"""Settings of every training, and the learning rate's course."""

import pytest

from sparsemeta.errors import ConfigError
from sparsemeta.run import TrainingConfig, cosine


def test_it_rises_and_falls():
    shares = [cosine(step, 6, 2) for step in range(6)]
    assert shares[:3] == [0.5, 1.0, 1.0]
    assert shares[3:] == pytest.approx([0.853553, 0.5, 0.146447], abs=1e-6)


def test_it_ends_at_its_floor_and_stays_there():
    assert cosine(6, 6, 2, floor=0.1) == cosine(9, 6, 2, floor=0.1) == 0.1


def test_a_run_of_warm_up_alone():
    assert cosine(3, 2, 8) == 0.5


def test_ahead_the_last_step_is_at_the_floor():
    shares = [cosine(step, 6, 2, floor=0.1, ahead=1) for step in range(6)]
    assert shares[:2] == [0.5, 1.0]
    assert shares[-1] == pytest.approx(0.1)
    assert shares[2] < 1


def test_settings_out_of_bounds_are_refused_and_seldom_ones_free():
    with pytest.raises(ConfigError, match=r"training\.clip = 0 must be positive"):
        TrainingConfig(clip=0)
    assert TrainingConfig.free == {"tensorboard"}
    config = TrainingConfig(steps=6, warmup=2, learning_rate=2.0)
    assert [config.rate(step) for step in (0, 1, 2)] == [1.0, 2.0, 2.0]
