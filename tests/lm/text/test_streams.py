import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from sparsemeta.errors import CorpusError
from sparsemeta.lm.text.tokenised import Streams

# The last token fits no shard.
TEXT = np.array([99, 1, 2, 3, 4, 5, 99, 6, 7, 8, 99, 99, 9, 10, 11, 12, 13], np.uint8)


def streams(count=2, segment=3):
    return Streams(TEXT, streams=count, segment=segment)


def test_first_batch():
    batch = streams().next_batch()
    assert batch.tokens.tolist() == [[99, 1, 2], [7, 8, 99]]
    assert batch.targets.tolist() == [[1, 2, 3], [8, 99, 99]]
    assert (batch.tokens.dtype, batch.targets.dtype) == (torch.int64, torch.int64)
    assert batch.tokens.is_contiguous()
    assert batch.targets.is_contiguous()


def test_batches_join_into_shards_that_go_around():
    reader = streams()
    batches = [reader.next_batch() for _ in range(6)]
    tokens = torch.cat([batch.tokens for batch in batches], dim=1)
    targets = torch.cat([batch.targets for batch in batches], dim=1)
    shards = torch.tensor([[99, 1, 2, 3, 4, 5, 99, 6], [7, 8, 99, 99, 9, 10, 11, 12]])
    around = torch.cat([shards, shards, shards], dim=1)
    assert tokens.equal(around[:, :18])
    assert targets.equal(around[:, 1:19])


def test_counts():
    reader = streams()
    assert len(reader) == reader.tokens == 16
    assert reader.steps_per_epoch == 3
    assert streams(segment=4).steps_per_epoch == 2


@pytest.mark.parametrize("steps", [0, 1, 5, 1000])
def test_resume_by_position(steps):
    reader, resumed = streams(), streams()
    for _ in range(steps):
        reader.next_batch()
    resumed.position = reader.position
    assert reader.position == 3 * steps
    for _ in range(4):
        assert resumed.next_batch().tokens.equal(reader.next_batch().tokens)


def test_one_segment_may_be_the_whole_shard():
    batch = streams(segment=8).next_batch()
    assert batch.targets[0].tolist() == [1, 2, 3, 4, 5, 99, 6, 99]


@pytest.mark.parametrize(("count", "segment"), [(2, 9), (18, 1), (1, 18)])
def test_too_little_text(count, segment):
    message = rf"17 tokens.*need {count * segment}\. Add text, or lower training\.streams"
    with pytest.raises(CorpusError, match=message):
        streams(count, segment)


def test_no_text():
    with pytest.raises(CorpusError, match="0 tokens"):
        Streams(TEXT[:0], streams=1, segment=1)


@settings(deadline=None, derandomize=True)
@given(share=st.integers(1, 3), world=st.integers(1, 4), segment=st.integers(1, 5), data=st.data())
def test_processes_share_the_streams(share, world, segment, data):
    count = share * world
    text = np.arange(data.draw(st.integers(count * segment, 100)), dtype=np.uint16)
    alone = Streams(text, streams=count, segment=segment)
    ranks = [
        Streams(text, streams=count, segment=segment, rank=rank, world=world)
        for rank in range(world)
    ]
    alone.position = data.draw(st.integers(0, 1000))
    for reader in ranks:
        reader.position = alone.position
        assert (reader.tokens, reader.steps_per_epoch) == (alone.tokens, alone.steps_per_epoch)
    for _ in range(3):
        whole, parts = alone.next_batch(), [reader.next_batch() for reader in ranks]
        assert torch.cat([batch.tokens for batch in parts]).equal(whole.tokens)
        assert torch.cat([batch.targets for batch in parts]).equal(whole.targets)
        assert {reader.position for reader in ranks} == {alone.position}


def test_the_text_stays_on_the_disk(tmp_path):
    np.arange(4_000_000, dtype=np.uint16).tofile(tmp_path / "tokens.bin")
    text = np.memmap(tmp_path / "tokens.bin", np.uint16, mode="r")
    tracemalloc.start()
    try:
        reader = Streams(text, streams=4, segment=8, rank=1, world=2)
        reader.next_batch()
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert reader.next_batch().tokens[0, 0] == (2_000_000 + 8) % 65536
