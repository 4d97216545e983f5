"""The recipe that the tests of training share."""

import pytest

from sparsemeta.lm.config import CorpusConfig, Recipe, TokenizerConfig, TrainingConfig
from tests.lm.runs import MODEL


@pytest.fixture
def recipe(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("".join(f"{n} is {n % 7} and {n % 5}.\n" for n in range(200)))
    return Recipe(
        corpus=CorpusConfig(train=(str(text),)),
        tokenizer=TokenizerConfig(kind="bytes"),
        model=MODEL,
        training=TrainingConfig(
            steps=12,
            streams=2,
            segment=16,
            learning_rate=1e-2,
            warmup=3,
            precision="32-true",
            checkpoint_every=5,
        ),
    )
