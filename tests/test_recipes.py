"""Every recipe parses, and the demo's models are of one size."""

from pathlib import Path

import pytest

from sparsemeta.config import read_toml
from sparsemeta.lm.config import Recipe
from sparsemeta.lm.modelling import LanguageModel

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_it_parses_and_is_named_after_its_file(path):
    assert read_toml(path, Recipe).name == path.stem


def parameters(recipe):
    model = LanguageModel(recipe.model, recipe.tokenizer.vocabulary)
    return sum(p.numel() for p in model.parameters())


def test_the_demo_compares_equals():
    recipes = {path.stem: read_toml(path, Recipe) for path in RECIPES}
    demo, size = recipes["demo"], parameters(recipes["demo"])
    for control in (recipes["demo-static"], recipes["demo-dense"]):
        assert (demo.corpus, demo.tokenizer) == (control.corpus, control.tokenizer)
        for field in ("steps", "streams", "segment", "seed", "precision"):
            assert getattr(demo.training, field) == getattr(control.training, field)
        assert abs(parameters(control) - size) < 1e-3 * size
