"""Tests of the cache of blocks."""

from fedbus.blobs.block_cache import BlockCache


def test_the_least_recently_used_blocks_leave_first() -> None:
    """The bytes that it keeps are bounded, whatever the sizes of blocks."""
    cache = BlockCache(10)
    cache.put("a", 0, [b"1234", b"56"])
    cache.put("b", 7, [b"789"])
    assert cache.get("a", 0) == b"1234"
    cache.put("c", 1, [b"xyz"])
    assert [cache.has("a", 0), cache.has("a", 1), cache.has("b", 7)] == [True, False, True]
    assert cache.size == 10
    cache.put("c", 1, [b"x"])
    assert (cache.get("c", 1), cache.size) == (b"x", 8)
    cache.put("d", 0, [b"longer than the limit"])
    assert (cache.size, cache.get("d", 0)) == (0, None)


def test_the_blocks_of_one_blob_are_forgotten() -> None:
    """Others stay."""
    cache = BlockCache(10)
    cache.put("a", 0, [b"12", b"34"])
    cache.put("b", 0, [b"56"])
    cache.forget("a")
    assert (cache.get("a", 0), cache.get("a", 1), cache.get("b", 0)) == (None, None, b"56")
    assert cache.size == 2
