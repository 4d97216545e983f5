import pytest

from sparsemeta.errors import ConfigError
from sparsemeta.lm.scoring.arms.arm import Arm, all_arms
from sparsemeta.lm.scoring.arms.settings import CacheSettings, DynamicSettings


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("static", "static"),
        ("static+cache", "cache"),
        ("dynamic+carried", "carried+dynamic"),
        ("document+dynamic+cache", "document+cache+dynamic"),
    ],
)
def test_names(name, canonical):
    assert str(Arm.parse(name)) == canonical
    assert Arm.parse(canonical) == Arm.parse(name)


def test_settings_go_to_the_parts_that_are_there():
    cache, dynamic = CacheSettings(size=7), DynamicSettings(rate=0.5)
    assert Arm.parse("cache", cache, dynamic) == Arm("static", cache=cache)
    assert Arm.parse("carried+dynamic", cache, dynamic) == Arm("carried", dynamic=dynamic)


@pytest.mark.parametrize("has_memory", [True, False])
def test_every_listed_arm_is_a_name(has_memory):
    names = all_arms(has_memory)
    assert [str(Arm.parse(name)) for name in names] == list(names)
    assert has_memory or all(Arm.parse(name).memory == "static" for name in names)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("carry", "unknown arm 'carry'. The arms are static, document, carried, cache, dynamic"),
        ("", "unknown arm ''"),
        ("carried+", "unknown arm ''"),
        ("carried+static", "'carried+static' names carried and static. Name each part once"),
        ("cache+cache", "'cache+cache' names cache and cache. Name each part once"),
    ],
)
def test_bad_names(name, words):
    with pytest.raises(ConfigError) as error:
        Arm.parse(name)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("settings", "values", "words"),
    [
        (CacheSettings, {"size": 0}, "cache.size must be at least 1"),
        (CacheSettings, {"weight": 1.0}, r"cache.weight must lie in \[0, 1\)"),
        (CacheSettings, {"theta": -1.0}, "cache.theta must not be negative"),
        (DynamicSettings, {"segment": 0}, "dynamic.segment must be at least 1"),
        (DynamicSettings, {"rate": -1.0}, "dynamic.rate must not be negative"),
        (DynamicSettings, {"decay": 2.0}, r"dynamic.decay must lie in \[0, 1\]"),
        (DynamicSettings, {"samples": 0}, "dynamic.samples must be at least 1"),
    ],
)
def test_bad_settings(settings, values, words):
    with pytest.raises(ConfigError, match=words):
        settings(**values)
