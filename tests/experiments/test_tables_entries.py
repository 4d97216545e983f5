"""Table memories listed, compared and merged; and the addresses of exact contexts."""

import torch
from hypothesis import given as for_all, settings
from output_memory.contexts import byte_contexts, token_contexts
from output_memory.tables import Tables
from output_memory.tables_entries import entries, tables_of, total

from tests.experiments import tables_streams as streams
from tests.experiments.tables_streams import HEADS, VOCABULARY, contexts, read, reference

PLENTY = 100_000


def learn(came, tables=None, history=None):
    tables = tables or Tables.empty(torch.float64)
    return tables.score_and_write(*contexts(came, history), came, HEADS, PLENTY)


def words(n, seed=0):
    return torch.randint(VOCABULARY, (n,), generator=torch.Generator().manual_seed(seed))


@for_all(streams.tokens)
@settings(max_examples=25, deadline=None)
def test_entries_are_what_the_reference_holds(came):
    _, tables = learn(came)
    truth = reference(HEADS)
    list(read(truth, *contexts(came), came))
    expected = {
        (h, s, y): w
        for h, table in enumerate(truth.heads)
        for s, slot in table.items()
        for y, w in slot.weight.items()
    }
    head, slot, token, weight, _ = entries(tables, HEADS)
    places = zip(head.tolist(), slot.tolist(), token.tolist(), strict=True)
    assert list(places) == sorted(expected)
    sums = torch.tensor([expected[place] for place in sorted(expected)], dtype=torch.float64)
    torch.testing.assert_close(weight, sums, rtol=1e-9, atol=1e-12)


def test_tables_made_of_entries_go_on_as_those_they_came_from():
    came, more = words(400), words(300, seed=1)
    _, tables = learn(came)
    copy = tables_of(entries(tables, HEADS), written=400)
    (one, after), (other, again) = (learn(more, t, came) for t in (tables, copy))
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    for a, b in zip(entries(after, HEADS), entries(again, HEADS), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_merging_with_a_fork_that_learned_nothing_changes_nothing_and_a_diff_is_what_came():
    base = learn(words(300))[1]
    mine = learn(words(200, seed=1), base)[1]
    one, ancestor = entries(mine, HEADS), entries(base, HEADS)
    merged = total([one, ancestor, ancestor], (1, 1, -1))
    for a, b in zip(merged[:4], one[:4], strict=True):  # each goes by a clock of its own
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    changed = total([one, ancestor], (1, -1))
    assert 0 < len(changed.head) <= len(one.head)
    assert len(total([one, one], (1, -1)).head) == 0
    assert changed.weight[changed.head == 0].sum() < 200  # update exclusion: not every token


def test_what_two_learned_apart_is_known_to_their_merger():
    here, there = torch.tensor([1, 2, 3] * 30), torch.tensor([5, 4, 0] * 30)
    parts = [entries(learn(came)[1], HEADS) for came in (here, there)]
    merged = tables_of(total(parts, (1, 1)), written=180)
    for came in (here, there):
        found, _ = learn(came[-3:], merged, came[:-3])
        assert (found.p[:, 3] > 0.9).all()
    assert len(entries(tables_of(total(parts, (1, 1)), 180), HEADS).head) == sum(
        len(part.head) for part in parts
    )


def test_a_context_is_its_last_tokens_and_no_others():
    came = words(2000)
    slots = token_contexts(came, came[:0], (0, 1, 3))
    assert slots[:, 0].unique().numel() == 1
    for column, n in ((1, 1), (2, 3)):
        assert (slots[:n, column] == -1).all()
        assert (slots[n:, column] >= 0).all()
        context = came.unfold(0, n, 1)[:-1]
        pairs = torch.cat([context, slots[n:, column, None]], -1).unique(dim=0)
        assert len(pairs) == len(context.unique(dim=0)) == len(slots[n:, column].unique())


def test_a_byte_context_is_the_end_of_the_text_however_it_is_cut_into_tokens():
    spelling = torch.tensor([[97, 0], [98, 0], [97, 98]])  # a, b, ab
    length = torch.tensor([1, 1, 2])
    came = torch.randint(3, (500,), generator=torch.Generator().manual_seed(4))
    slots = byte_contexts(came, came[:0], (1, 3), spelling, length)
    text, ends = "", {}
    for token, found in zip(came.tolist(), slots.tolist(), strict=True):
        for n, slot in zip((1, 3), found, strict=True):
            assert (slot == -1) == (len(text) < n)
            assert len(text) < n or ends.setdefault((n, text[-n:]), slot) == slot
        text += ("a", "b", "ab")[token]
    assert len(set(ends.values())) == len(ends)
    parts = [byte_contexts(came[:7], came[:0], (1, 3), spelling, length)]
    parts.append(byte_contexts(came[7:], came[4:7], (1, 3), spelling, length))
    assert torch.equal(torch.cat(parts), slots)
