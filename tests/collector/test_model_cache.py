"""Cache of layouts and bases: they are not fetched again for the next round."""

from fedbus.blobs.spool import Spools
from fedbus_collector.model_cache import MAX_CACHED_BLOBS, MAX_LAYOUTS, ModelCache
from tests.collector.harness import LAYOUT


def test_a_base_is_removed_by_taking_it() -> None:
    """It is no longer in the cache."""
    cache, spool = ModelCache(), Spools(100).make(10)
    cache.put_blob("a", spool)
    assert cache.take_blob("a") is spool
    assert cache.take_blob("a") is None


def test_the_spools_of_the_oldest_bases_are_closed() -> None:
    """The oldest goes first; the same twice is kept once."""
    cache, spools = ModelCache(), Spools(1000)
    for number in range(MAX_CACHED_BLOBS + 2):
        cache.put_blob(str(number), spools.make(10))
    cache.put_blob(str(MAX_CACHED_BLOBS), spools.make(10))
    assert spools.used == 10 * MAX_CACHED_BLOBS
    assert cache.take_blob("0") is None
    assert cache.take_blob(str(MAX_CACHED_BLOBS)) is not None


def test_a_few_layouts_are_remembered() -> None:
    """By their spec's digest."""
    cache = ModelCache()
    for number in range(MAX_LAYOUTS + 1):
        cache.put_layout(str(number), LAYOUT)
    assert cache.layout("0") is None
    assert cache.layout("1") is LAYOUT
