import pytest

from sparsemeta.errors import ConfigError
from sparsemeta.lm.evaluation import Arm, Cache, CarriedMemory, Dynamic, NoMemory, all_arms


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
    given = cache, dynamic = Cache(size=7), Dynamic(rate=0.5)
    assert Arm.parse("cache", given) == Arm.of(cache) == Arm.of(cache, NoMemory())
    assert Arm.parse("carried+dynamic", given) == Arm.of(dynamic, CarriedMemory())


@pytest.mark.parametrize("has_memory", [True, False])
def test_every_listed_arm_is_a_name(has_memory):
    names = all_arms(has_memory)
    assert [str(Arm.parse(name)) for name in names] == list(names)
    assert has_memory or all(Arm.parse(name).memory == NoMemory() for name in names)


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
        (Cache, {"size": 0}, "cache.size = 0 must be at least 1"),
        (Cache, {"weight": 1.0}, r"cache.weight = 1.0 must lie in \[0, 1\)"),
        (Cache, {"theta": -1.0}, "cache.theta = -1.0 must not be negative"),
        (Dynamic, {"segment": 0}, "dynamic.segment = 0 must be at least 1"),
        (Dynamic, {"rate": -1.0}, "dynamic.rate = -1.0 must not be negative"),
        (Dynamic, {"decay": 2.0}, r"dynamic.decay = 2.0 must lie in \[0, 1\]"),
        (Dynamic, {"samples": 0}, "dynamic.samples = 0 must be at least 1"),
    ],
)
def test_bad_settings(settings, values, words):
    with pytest.raises(ConfigError, match=words):
        settings(**values)
