"""What the room offers its neighbours."""

import pytest

from sparsemeta import rl
from sparsemeta.rl import environments


@pytest.mark.parametrize("room", [rl, environments], ids=lambda room: room.__name__)
def test_every_name_is_there(room):
    assert len(room.__all__) > 15
    for name in room.__all__:
        assert getattr(room, name) is not None
    with pytest.raises(AttributeError):
        _ = room.nothing
