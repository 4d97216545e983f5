"""Every recipe parses, and the demo's two models are of one size."""

from pathlib import Path

import pytest

from sparsemeta.config import read_toml
from sparsemeta.lm.config import Recipe
from sparsemeta.lm.modelling import LanguageModel

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_it_parses_and_is_named_after_its_file(path):
    assert read_toml(path, Recipe).name == path.stem


def test_the_demo_compares_equals():
    recipes = {path.stem: read_toml(path, Recipe) for path in RECIPES}
    demo, static = recipes["demo"], recipes["demo-static"]
    assert (demo.corpus, demo.tokenizer) == (static.corpus, static.tokenizer)
    for field in ("steps", "streams", "segment", "seed", "precision"):
        assert getattr(demo.training, field) == getattr(static.training, field)
    sizes = [
        sum(p.numel() for p in LanguageModel(r.model, r.tokenizer.vocabulary).parameters())
        for r in (demo, static)
    ]
    assert abs(sizes[0] - sizes[1]) < 1e-3 * sizes[0]
