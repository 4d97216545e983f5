import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from sparsemeta.errors import CorpusError
from sparsemeta.lm.text.streams import Episodes, Streams

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


def parts(emptied, renamed, world=1, streams=4, steps=60, seed=0):
    """Batches of all processes side by side, and whether an episode begins (steps, streams)."""
    text = np.arange(4_000, dtype=np.uint16) % 50
    readers = [
        Streams(
            text,
            streams=streams,
            segment=5,
            rank=rank,
            world=world,
            episodes=Episodes(emptied, renamed, 50, seed),
        )
        for rank in range(world)
    ]
    for _ in range(steps):
        batches = [reader.next_batch() for reader in readers]
        yield tuple(torch.cat(x) for x in zip(*batches, strict=True))


@pytest.mark.parametrize("renamed", [0.0, 0.5, 1.0])
def test_episodes_are_the_same_in_several_processes_and_when_resumed(renamed):
    alone, shared = (list(parts(0.2, renamed, world)) for world in (1, 2))
    for one, other in zip(alone, shared, strict=True):
        assert all(x.equal(y) for x, y in zip(one, other, strict=True))
    text = np.arange(4_000, dtype=np.uint16) % 50
    for step in (59, 17, 0):
        late = Streams(text, streams=4, segment=5, episodes=Episodes(0.2, renamed, 50, 0))
        late.position = 5 * step
        assert all(x.equal(y) for x, y in zip(late.next_batch(), alone[step], strict=True))
    other = list(parts(0.2, renamed, seed=1))
    assert any(not x[2].equal(y[2]) for x, y in zip(alone, other, strict=True))


def test_an_episode_begins_with_a_segment_and_as_often_as_it_should():
    resets = torch.stack([reset for *_, reset in parts(0.2, 0.0, steps=500)])
    assert resets[0, :, 0].all()
    assert not resets[..., 1:].any()
    assert 0.17 < resets[1:, :, 0].float().mean() < 0.23


def test_a_renamed_episode_renames_one_to_one_and_throughout():
    plain, named = (list(parts(0.2, renamed)) for renamed in (0.0, 1.0))
    names: list[dict[int, int]] = [{} for _ in range(4)]
    seen = []
    # Other chances are drawn in between, so that the episodes differ; the text does not.
    for (tokens, targets, _), (called, called_next, reset) in zip(plain, named, strict=True):
        for i in range(4):
            if reset[i, 0]:
                seen.append(names[i])
                names[i] = {}
            pairs = zip([*tokens[i], *targets[i]], [*called[i], *called_next[i]], strict=True)
            for old, new in pairs:
                assert names[i].setdefault(int(old), int(new)) == int(new)
    for found in [*seen, *names]:
        assert len(set(found.values())) == len(found)
    assert len({tuple(sorted(found.items())) for found in [*seen, *names]}) > 30


def test_some_episodes_are_renamed():
    same = [
        tokens.equal(old)
        for (tokens, *_), (old, *_) in zip(
            parts(1.0, 0.25, streams=1, steps=400),
            parts(1.0, 0.0, streams=1, steps=400),
            strict=True,
        )
    ]
    assert 0.65 < np.mean(same) < 0.85
