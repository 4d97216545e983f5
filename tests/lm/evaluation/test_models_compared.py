import pytest

from sparsemeta.errors import ConfigError
from sparsemeta.lm import compare
from sparsemeta.lm.text import ByteTokenizer
from tests.lm.evaluation.models import TEXT, build, documents

ONE = "the fox saw the dog; the dog saw the fox\n" * 2
TWO = "a dog and a fox and the dog\n" * 2


def test_models_are_compared_and_tuned_from_python(tmp_path):
    text = "".join(chr(97 + i % 26) for i in range(100))
    found = compare(
        {"demo": (build(), ByteTokenizer()), "plain": (build(memory_layers=()), ByteTokenizer())},
        documents(ONE, TWO),
        arms="static,cache",
        validation=documents(text),
        training=documents(TEXT),
        health=True,
    )
    assert list(found.readings) == ["static", "cache", "plain"]
    assert [tuned.part for tuned in found.tuned] == ["cache"]
    assert found.readings["cache"].settings["cache"] == found.to_dict()["tuned"][0]["chosen"]
    assert [gain.by[-8:] for gain in found.gains] == ["document", "training"]
    assert found.table().row_count > 6
    assert "plain: one pass" in found.summary()
    assert all(health.occupancy > 0 for health in found.health.values())
    found.plot(tmp_path / "a.png")
    assert (tmp_path / "a.png").exists()


def test_a_text_is_tokenised_once():
    calls = []

    class Watched(ByteTokenizer):
        def _encode(self, texts, data):
            calls.append(len(texts))
            return super()._encode(texts, data)

    pair = build(), Watched()
    compare({"one": pair, "other": pair, "third": (build(), Watched())}, documents(ONE, TWO))
    assert calls == [2]


def test_models_of_different_tokens_are_not_compared():
    class Reversed(ByteTokenizer):
        def _encode(self, texts, data):
            return [part[::-1] for part in super()._encode(texts, data)]

        def _to_json(self):
            return "backwards"

    models = {"one": (build(), ByteTokenizer()), "other": (build(), Reversed())}
    with pytest.raises(ConfigError, match="other reads these texts in other tokens than one"):
        compare(models, documents(ONE))
