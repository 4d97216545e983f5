"""The learning rate's course."""

import pytest

from sparsemeta.run import cosine


def test_it_rises_and_falls():
    shares = [cosine(step, 6, 2) for step in range(6)]
    assert shares[:3] == [0.5, 1.0, 1.0]
    assert shares[3:] == pytest.approx([0.853553, 0.5, 0.146447], abs=1e-6)


def test_it_ends_at_its_floor_and_stays_there():
    assert cosine(6, 6, 2, floor=0.1) == cosine(9, 6, 2, floor=0.1) == 0.1


def test_a_run_of_warm_up_alone():
    assert cosine(3, 2, 8) == 0.5
