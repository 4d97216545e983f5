"""What is seen of an agent at play: words and pictures, of ours and of others' environments."""

import numpy as np
import pytest
import torch

from sparsemeta import errors
from sparsemeta.errors import ConfigError, MissingExtra
from sparsemeta.rl.agent import ActorCritic, make
from sparsemeta.rl.config import EnvironmentConfig
from sparsemeta.rl.environments.card_sorting.drawing import COLOURS
from sparsemeta.rl.watching import require_film, save_film, watch
from tests.rl.small import TINY

CARDS = EnvironmentConfig("sparsemeta/CardSorting-v0", ("length=6",))


def watched(config, **options):
    torch.manual_seed(0)
    env = make(config, 1)
    agent = ActorCritic(env.width, env.actions, TINY)
    torch.nn.init.normal_(agent.actor.weight)
    return list(watch(agent, config, **options))


@pytest.mark.parametrize("observe", [(), (0, 1, 2)])
def test_card_sorting(observe):
    config = EnvironmentConfig(CARDS.id, CARDS.settings, observe)
    moments = watched(config, pictures=True)
    assert len(moments) == 6
    for count, moment in enumerate(moments, 1):
        assert moment.text.startswith(f"step {count}\n[0] 1 red triangle")
        verdict = "green" if moment.text.endswith("right\n") else "red"
        other = {"green": "red", "red": "green"}[verdict]
        bars = moment.picture[108:114]  # between the key cards and what is below them
        assert (bars == COLOURS[verdict]).all(-1).any()
        assert not (bars == COLOURS[other]).all(-1).any()


def test_how_long():
    assert len(watched(CARDS, steps=4)) == 4
    assert len(watched(CARDS, episodes=2)) == 12
    assert len(watched(CARDS, episodes=2, steps=7)) == 7


def test_draws_from_the_policy():
    found = [[m.text for m in watched(CARDS, greedy=greedy)] for greedy in (True, True, False)]
    assert found[0] == found[1] != found[2]


def test_without_pictures():
    bandit = EnvironmentConfig("sparsemeta/ReversalBandit-v0", ("length=3",))
    assert [moment.picture for moment in watched(bandit)] == [None] * 3
    with pytest.raises(ConfigError, match="ReversalBandit-v0 draws no pictures"):
        watched(bandit, pictures=True)


@pytest.fixture
def drawn():
    """An environment that draws the number of its steps, in pictures and, if asked, in words."""
    gymnasium = pytest.importorskip("gymnasium")

    class Drawn(gymnasium.Env):
        observation_space = gymnasium.spaces.Discrete(2)
        action_space = gymnasium.spaces.Discrete(2)
        metadata = {"render_modes": ["rgb_array", "ansi"], "render_fps": 4}  # noqa: RUF012

        def __init__(self, render_mode=None, broken=False):
            self.render_mode, self.broken = render_mode, broken

        def reset(self, *, seed=None, options=None):
            self.count = 0
            return 1, {}

        def step(self, action):
            self.count += 1
            return 1, 0.5, self.count == 3, False, {}

        def render(self):
            if self.broken:
                raise gymnasium.error.DependencyNotInstalled("install pencils")
            words = self.render_mode == "ansi"
            return f"<{self.count}>" if words else np.full((4, 5, 3), self.count, np.uint8)

    gymnasium.register("tests/Drawn-v0", entry_point=Drawn, disable_env_checker=True)
    yield
    del gymnasium.registry["tests/Drawn-v0"]


@pytest.mark.usefixtures("drawn")
def test_others_in_words_and_in_pictures():
    config = EnvironmentConfig("tests/Drawn-v0")
    moments = watched(config)
    assert [moment.text.splitlines()[1] for moment in moments] == ["<0>", "<1>", "<2>"]
    assert "observation: 0 1   action: " in moments[0].text
    moments = watched(config, pictures=True)
    assert [int(moment.picture.max()) for moment in moments] == [0, 1, 2]
    assert "reward: 0.5" in moments[0].text


@pytest.mark.usefixtures("drawn")
def test_what_drawing_needs():
    with pytest.raises(ConfigError, match="tests/Drawn-v0 cannot be drawn: install pencils"):
        watched(EnvironmentConfig("tests/Drawn-v0", ("broken=true",)), pictures=True)


def test_films(tmp_path):
    image = pytest.importorskip("PIL.Image")
    pictures = [np.full((6, 8, 3), 40 * n, np.uint8) for n in range(5)]
    save_film(tmp_path / "a.gif", pictures, delay=0.25)
    with image.open(tmp_path / "a.gif") as found:
        assert (found.n_frames, found.size, found.info["duration"]) == (5, (8, 6), 250)
    save_film(tmp_path / "a.png", pictures, delay=0.25)
    with image.open(tmp_path / "a.png") as found:
        strip = np.asarray(found)
    assert strip.shape == (12, 32, 3)
    assert [int(strip[0, column, 0]) for column in (0, 8, 16, 24)] == [0, 40, 80, 120]
    assert strip[6, 0, 0] == 160
    assert strip[6, 8, 0] == 255  # nothing more


def test_a_film_by_another_name(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"a film's name ends in \.gif or \.png"):
        require_film(tmp_path / "a.mov")
    monkeypatch.setattr(errors, "installed", lambda package: package != "PIL")
    with pytest.raises(MissingExtra, match=r"sparsemeta\[rl\]"):
        require_film(tmp_path / "a.gif")
