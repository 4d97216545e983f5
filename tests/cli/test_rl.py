"""`sparsemeta rl`: an agent is trained, measured and watched from the command line."""

import json
import signal

import pytest

from sparsemeta.cli import main
from sparsemeta.config import read_toml, write_toml
from sparsemeta.rl.config import EnvironmentConfig, Recipe
from sparsemeta.rl.training import train
from sparsemeta.run import step_folders
from tests.rl.small import small

CARDS = small(id="sparsemeta/CardSorting-v0", settings=("length=16", "criterion=[2, 3]"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder of the runs `cards`, `bandit` and, with Gymnasium, `pole`. Read only."""
    folder = tmp_path_factory.mktemp("runs")
    train(CARDS, folder / "cards")
    train(small(), folder / "bandit")
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder but for a recipe, entered."""
    write_toml(tmp_path / "small.toml", CARDS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(arguments, capsys):
    """The message of a command that must fail as a mistake does."""
    try:
        code = main(["rl", *map(str, arguments)])
    except SystemExit as stop:  # of a flag that is out of bounds
        code = stop.code
    assert code == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message


def test_train(here, capsys):
    assert main(["rl", "train", "small.toml"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "runs/rl/small\n"
    assert "step 6/6" in printed.err
    run = here / "runs/rl/small"
    assert read_toml(run / "recipe.toml", Recipe) == CARDS
    assert len((run / "log.jsonl").read_text().splitlines()) == 6
    assert [p.name for p in step_folders(run / "checkpoints")] == ["step-000006"]


def test_overrides_run_and_restart(here, capsys):
    command = ["train", "small.toml", "--run", "elsewhere", "--training.algorithm", "a2c"]
    command += ["--environment.id", "sparsemeta/ReversalBandit-v0", "--environment.settings"]
    assert main(["rl", *command, "hazard=0.2", "length=8"]) == 0
    recipe = read_toml("elsewhere/recipe.toml", Recipe)
    assert recipe.environment.settings == ("hazard=0.2", "length=8")
    assert recipe.training.algorithm == "a2c"
    assert "environment.settings (was" in refused([*command, "length=8"], capsys)
    assert main(["rl", *command, "length=8", "--restart"]) == 0
    assert read_toml("elsewhere/recipe.toml", Recipe).environment.settings == ("length=8",)


def test_a_signal_saves(here, capsys, monkeypatch):
    from sparsemeta.run import Progress

    def stop(progress, step, status):
        if step == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Progress, "show", stop)
    assert main(["rl", "train", "small.toml"]) == 130
    assert "Stopped after step 3 of 6; saved in" in capsys.readouterr().err
    assert [p.name for p in step_folders(here / "runs/rl/small/checkpoints")] == ["step-000003"]


def test_evaluate(runs, here, capsys):
    command = ["rl", "evaluate", str(runs / "cards"), "--episodes", "20"]
    assert main([*command, "--json", "out/a.json", "--plot", "out/a.png"]) == 0
    printed = capsys.readouterr()
    for words in ("agent", "ideal observer", "perseverative", "±", "length=16", "20 episodes"):
        assert words in printed.out
    assert "uniform plays 20 episodes" in printed.err
    data = json.loads((here / "out/a.json").read_text())
    assert data["environment"]["id"] == "sparsemeta/CardSorting-v0"
    assert len(data["players"]["agent"]["measures"]["errors"]) == 2
    assert (here / "out/a.png").read_bytes().startswith(b"\x89PNG")

    elsewhere = ["--environment.settings", "criterion=[4, 4]", "--sample", "--seed", "1"]
    assert main([*command, *elsewhere]) == 0
    assert "length=16 criterion=[2, 3] criterion=[4, 4]: " in capsys.readouterr().out
    assert main([*command, "--environment.id", "sparsemeta/CardSortingStrict-v0"]) == 0
    assert "\nsparsemeta/CardSortingStrict-v0: " in capsys.readouterr().out


def test_evaluate_a_bandit(runs, here, capsys):
    command = ["rl", "evaluate", str(runs / "bandit"), "--episodes", "5", "--plot", "a.svg"]
    assert main(command) == 0
    assert "better arm" in capsys.readouterr().out
    assert "<svg" in (here / "a.svg").read_text()


def test_tasks_have_as_many_episodes_as_in_training(here, capsys):
    train(small(episodes=3), here / "run")
    assert main(["rl", "evaluate", "run", "--episodes", "7"]) == 0
    assert "over 9 episodes, 3 of each task in a row" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "magic"), [("a.gif", b"GIF8"), ("out/a.png", b"\x89PNG")])
def test_watch(runs, here, capsys, name, magic):
    command = ["rl", "watch", str(runs / "cards"), "--steps", "5", "--out", name]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert text.count("rule: ") == text.count("chosen: [") == 5
    assert "step 5\n" in text
    assert text.splitlines()[-1] == name
    assert (here / name).read_bytes().startswith(magic)


def test_a_film_has_a_picture_of_every_step(runs, here):
    image = pytest.importorskip("PIL.Image")
    assert main(["rl", "watch", str(runs / "cards"), "--steps", "6", "--out", "a.gif"]) == 0
    assert main(["rl", "watch", str(runs / "cards"), "--steps", "6", "--out", "a.png"]) == 0
    with image.open("a.gif") as film, image.open("a.png") as strip:
        assert film.n_frames == 6
        assert film.info["duration"] == 500
        assert strip.size == (4 * film.width, 2 * film.height)


def test_watch_what_cannot_be_drawn(runs, here, capsys):
    command = ["watch", runs / "bandit", "--environment.settings", "length=3"]
    assert main(["rl", *map(str, command)]) == 0
    text = capsys.readouterr().out
    assert text.count("observation: 0   action: ") == 3  # until the episode is over
    assert "draws no pictures" in refused([*command, "--out", "a.gif"], capsys)


def test_an_environment_of_gymnasium(here, capsys):
    pytest.importorskip("gymnasium")
    lake = EnvironmentConfig("FrozenLake-v1", ("max_episode_steps=4",))
    train(Recipe("lake", lake, CARDS.agent, CARDS.training), here / "lake")
    assert main(["rl", "evaluate", "lake", "--episodes", "3"]) == 0
    assert "uniform" in capsys.readouterr().out
    assert main(["rl", "watch", "lake", "--steps", "2"]) == 0
    text = capsys.readouterr().out
    assert text.count("HFFG") == 2  # as Gymnasium draws it in letters
    assert text.count("action: ") == 2


@pytest.mark.parametrize("command", ["train", "evaluate", "watch"])
def test_help(here, capsys, command):
    with pytest.raises(SystemExit) as stop:
        main(["rl", command, *(["small.toml"] if command == "train" else []), "--help"])
    assert stop.value.code == 0
    assert "--environment.settings" in capsys.readouterr().out


def test_help_of_all(capsys):
    assert main(["rl"]) == 0
    assert "watch" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            ["play"],
            "`sparsemeta rl` has no command 'play'. The commands are train, evaluate",
        ),
        (["train"], "name the recipe first"),
        (["train", "none.toml"], "none.toml: cannot be read"),
        (["train", "small.toml", "--environment.id", "sparsemeta/Chess-v0"], "ours are sparse"),
        (["evaluate", "nowhere"], "nowhere: there is no trained agent"),
        (["evaluate", "RUN", "--episodes", "0"], "episodes = 0 must be at least 1"),
        (["evaluate", "RUN", "--plot", "a.gif"], "a plot's name ends in .png"),
        (["evaluate", "RUN", "--json", "."], "is a folder. Name a file in it"),
        (["evaluate", "RUN", "--environment.settings", "size=3"], "environment.settings.size"),
        (
            ["evaluate", "RUN", "--environment.id", "sparsemeta/TwoStep-v0"],
            "width 3 and 2 actions; the agent was trained on width 15 and 4 actions",
        ),
        (["watch", "nowhere"], "nowhere: there is no trained agent"),
        (["watch", "RUN", "--out", "a.mp4"], "a film's name ends in .gif or .png"),
        (["watch", "RUN", "--steps", "0"], "steps = 0 must be at least 1"),
        (["watch", "RUN", "--delay", "-1"], "delay = -1.0 must not be negative"),
    ],
)
def test_bad_input(runs, here, capsys, command, words):
    command = [runs / "cards" if part == "RUN" else part for part in command]
    assert words in refused(command, capsys)
    assert not (here / "runs").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("entrpy = 1", "small.toml: unknown key training.entrpy; did you mean training.entropy?"),
        ("discount = 2", "small.toml: training.discount = 2.0 must lie in [0, 1]"),
        ("algorithm = 'dqn'", "training.algorithm = 'dqn' is not one of 'a2c', 'ppo'"),
    ],
)
def test_a_recipe_with_a_mistake(here, capsys, line, words):
    (here / "small.toml").write_text(f"[training]\n{line}\n")
    assert words in refused(["train", "small.toml"], capsys)
