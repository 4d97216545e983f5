"""Every recipe parses, and what is compared is of one size."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sparsemeta.config import read_toml
from sparsemeta.lm.config import Recipe
from sparsemeta.lm.modelling import LanguageModel
from sparsemeta.rl.agent import make
from sparsemeta.rl.config import Recipe as AgentRecipe

FOLDER = Path(__file__).parent.parent / "recipes"
NAMES = sorted(path.stem for path in FOLDER.glob("*.toml"))


def recipe(name):
    return read_toml(FOLDER / f"{name}.toml", Recipe)


@pytest.mark.parametrize("name", NAMES)
def test_it_parses_and_is_named_after_its_file(name):
    assert recipe(name).name == name


def parameters(recipe):
    model = LanguageModel(recipe.model, recipe.tokenizer.vocabulary)
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    "control", [name for name in NAMES if name.endswith(("-static", "-dense"))]
)
def test_a_control_differs_in_its_memory_only(control):
    main, other = recipe(control.rpartition("-")[0]), recipe(control)
    assert (main.corpus, main.tokenizer) == (other.corpus, other.tokenizer)
    for field in ("steps", "streams", "segment", "seed", "precision", "validate_every"):
        assert getattr(main.training, field) == getattr(other.training, field)
    assert abs(parameters(other) - parameters(main)) < 1e-3 * parameters(main)


def test_recipes_for_a_gpu_are_of_one_size_and_stand_on_each_other():
    folder = FOLDER.parent / "experiments" / "wikitext2-gpu"
    found = {path.stem: read_toml(path, Recipe) for path in folder.glob("*.toml")}
    with torch.device("meta"):
        sizes = {name: parameters(recipe) for name, recipe in found.items()}
    assert {f"wikitext2-gpu-{name}" for name in found} == {r.name for r in found.values()}
    assert 24e6 < sizes["static"] < 35e6
    assert abs(sizes["memory"] - sizes["static"]) < 1e-3 * sizes["static"]
    for name in ("static", "memory"):
        base, frozen = found[name], found[f"{name}-frozen"]
        assert frozen.training.base == f"runs/{base.name}"
        assert replace(frozen.model, output=(), tables=base.model.tables) == base.model


def test_there_is_a_recipe_for_each_tokenizer():
    assert {recipe(name).tokenizer.kind for name in NAMES} == {"bpe", "bytes", "words"}


@pytest.mark.parametrize("path", sorted((FOLDER / "rl").glob("*.toml")), ids=lambda path: path.stem)
def test_a_recipe_of_an_agent_parses_and_its_world_can_be_made(path):
    found = read_toml(path, AgentRecipe)
    assert found.name == path.stem
    assert make(found.environment, 1).width >= 1
