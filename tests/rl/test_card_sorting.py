"""Card sorting by its published rules, and the figures of those who play it."""

import pytest
import torch

from sparsemeta.rl.environments import (
    CardSorting,
    CardSortingStrict,
    IdealObserver,
    NoCount,
    TensorVectorEnv,
    Uniform,
    WinStayLoseShift,
    play,
    recovery,
)
from sparsemeta.rl.environments.card_sorting.players import CARD_SORTING
from tests.rl.played import near, played, seeded

COLOUR, FORM, NUMBER = range(3)


def test_replays_standard_scoring():
    """Ten by colour, an error that colour would have made right, ten by form, by number, colour."""
    environment = TensorVectorEnv(CardSortingStrict(), 1)
    environment.reset(seeded())
    telling = torch.tensor([[[0, 1, 2]]]).expand(1, 129, 3)  # one card, three keys
    environment.state = environment.state._replace(deck=telling)

    def sort(by: int, times: int) -> list[tuple[float, bool]]:
        steps = [environment.step(torch.tensor([by])) for _ in range(times)]
        return [(step.reward.item(), step.info.perseverative.item()) for step in steps]

    right, wrong, again = (1.0, False), (0.0, False), (0.0, True)
    assert sort(FORM, 1) == [wrong]  # before any switch nothing is perseverative
    assert sort(COLOUR, 9) == [right] * 9
    assert sort(3, 1) == [wrong]  # breaks the row
    assert sort(COLOUR, 10) == [right] * 10  # the tenth is scored by the rule that it completes
    assert sort(COLOUR, 2) == [again] * 2
    assert sort(NUMBER, 1) == [wrong]
    assert sort(FORM, 10) == [right] * 10
    assert sort(FORM, 1) == [again]
    assert sort(COLOUR, 1) == [wrong]  # right two rules ago is not perseverative
    for by in (NUMBER, COLOUR, FORM):
        assert sort(by, 10) == [right] * 10
    assert environment.state.category.item() == 5
    assert sort(NUMBER, 9) == [right] * 9
    last = environment.step(torch.tensor([NUMBER]))
    assert last.done.item()
    assert last.reward.item() == 1
    assert environment.state.category.item() == 0


def test_the_strict_session_ends_with_its_cards():
    record = played(CardSortingStrict(), Uniform(), batch=4)
    assert record.done.nonzero()[:, 0].tolist() == [127] * 4


def test_decks_hold_every_card_once():
    deck = CardSortingStrict().start(3, seeded()).deck
    for first in (0, 64):
        assert all(len(row.unique(dim=0)) == 64 for row in deck[:, first : first + 64])
    number = (deck[:, :64] * torch.tensor([16, 4, 1])).sum(-1)
    assert not torch.equal(number[0], number[1])
    alike = (deck[0, :64, None] == deck[0, :64, :, None]).float().sum((1, 2))  # 3: none shared
    assert [int((alike == n).sum()) for n in (9, 5, 3)] == [4, 36, 24]


def test_rules_and_criteria():
    state = CardSorting().start(500, seeded())
    assert (state.rules[:, 1:] != state.rules[:, :-1]).all()
    assert state.rules[:, 0].bincount(minlength=3).min() > 120
    assert state.criteria.unique().tolist() == [6, 7, 8, 9, 10, 11, 12]
    strict = CardSortingStrict().start(2, seeded())
    assert strict.rules[0, :6].tolist() == [0, 1, 2, 0, 1, 2]
    assert strict.criteria.unique().tolist() == [10]


def test_the_observation_says_what_matched():
    rules = CardSorting()
    environment = TensorVectorEnv(rules, 50)
    observation = environment.reset(seeded())
    assert not observation[:, 12:].any()
    card = observation[:, :12].unflatten(1, (3, 4)).argmax(-1)
    assert torch.equal(card, environment.state.card)
    action = torch.randint(4, (50,))
    step = environment.step(action)
    assert torch.equal(step.observation[:, 12:].bool(), card == action[:, None])


@pytest.mark.parametrize(
    ("agent", "published", "perseverative"),
    [
        (IdealObserver(), 13.56, 9.8),
        (NoCount(), 15.64, 12.8),
        (WinStayLoseShift(), 22.1, None),
        (Uniform(), 96.0, None),
    ],
    ids=["ideal observer", "no count", "win-stay-lose-shift", "uniform"],
)
def test_published_errors(agent, published, perseverative):
    record = played(CardSorting(), agent)
    assert near(128 - record.returns(), published, error=0.05)
    if perseverative is not None:
        assert near(record.info.perseverative.sum(0).float(), perseverative, error=0.05)


def test_recovery_of_the_ideal_observer():
    curve = recovery(played(CardSorting(), IdealObserver()))
    assert curve.tolist() == pytest.approx([0.67, 0.33, 0.08, 0.02, 0.004], abs=0.015)


@pytest.mark.parametrize(
    ("rules", "published"),
    [
        (CardSorting(criterion=(10, 10)), 6.49),
        (CardSorting(criterion=(3, 10), length=64), 9.22),
    ],
)
def test_published_errors_of_other_settings(rules, published):
    record = played(rules, IdealObserver(), batch=1500)
    assert near(rules.length - record.returns(), published, error=0.05)


def test_who_knows_the_order_and_counts_makes_no_error():
    rules = CardSorting(criterion=(10, 10), order="cycle")
    assert played(rules, IdealObserver(), batch=50).returns().tolist() == [128] * 50


def test_agents_begin_anew_with_every_episode():
    rules = CardSorting(length=30, criterion=(6, 6))
    agent = IdealObserver()
    record = play(TensorVectorEnv(rules, 400), agent, seeded(), steps=60)
    first, second = record.reward[:30], record.reward[30:]
    assert second[0].mean().item() == pytest.approx(first[0].mean().item(), abs=0.1)
    assert second.sum(0).mean().item() == pytest.approx(first.sum(0).mean().item(), abs=0.5)


def test_text():
    state = CardSorting().start(1, seeded())
    state = state._replace(deck=torch.tensor([[[2, 1, 3]]]), streak=torch.tensor([4]))
    state = state._replace(rules=torch.tensor([[FORM]]))
    keys, table = CARD_SORTING.drawing.text(state).splitlines()
    assert "[2] 3 yellow crosses" in keys
    assert table == "sort: 4 yellow stars   rule: form   streak: 4"


def test_picture():
    start = CardSorting().start(1, seeded())
    drawn = {}
    for card in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (3, 3, 3)]:
        for rule in range(3):
            state = start._replace(deck=torch.tensor([[card]]), rules=torch.tensor([[rule]]))
            drawn[card, rule] = CARD_SORTING.drawing.picture(state)
    assert all(image.shape == (228, 444, 3) for image in drawn.values())
    assert len({image.tobytes() for image in drawn.values()}) == len(drawn)
    blue = drawn[(3, 3, 3), 0]
    assert (blue[120:216, 12:108] == blue[12:108, 336:432]).all()  # as on its key card
    longer = CARD_SORTING.drawing.picture(start._replace(streak=torch.tensor([2])))
    assert longer.tobytes() != CARD_SORTING.drawing.picture(start).tobytes()
