"""Spools: blobs in memory up to a budget, else in unlinked files."""

import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.blobs.spool import BLOCK_BYTES, MAX_SPARE_BYTES, Spool, Spools
from fedbus.digest import digest_of
from fedbus.errors import StoreError
from tests.open_files import open_files_in

KINDS = pytest.mark.parametrize("limit", [1 << 30, 0], ids=["in memory", "in a file"])


@pytest.fixture
def small_disk() -> Iterator[int]:
    """Limit files to 4 MiB, as a full disk would; the log of the tests is smaller."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 22, before[1]))
    yield 1 << 22
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@KINDS
def test_what_is_written_is_read(limit: int, tmp_path: Path) -> None:
    """At any offset, in any order; what was not written is zero."""
    spool = Spools(limit, tmp_path).make(10)
    spool.write(6, b"late")
    spool.write(0, memoryview(b"early"))
    assert bytes(spool.read(0, 10)) == b"early\0late"
    assert bytes(spool.read(3, 99)) == b"ly\0late"
    assert spool.digest() == digest_of(b"early\0late")


@given(
    size=st.integers(0, 5 * BLOCK_BYTES // 4),
    offset=st.integers(0, BLOCK_BYTES),
    length=st.integers(1000, BLOCK_BYTES),
)
def test_blocks_are_the_whole_and_nothing_else(size: int, offset: int, length: int) -> None:
    """Wherever they begin."""
    spool = Spools(1 << 30).make(size)
    data = bytes(i % 251 for i in range(min(size, 1000)))
    spool.write(0, data)
    whole = data + bytes(size - len(data))
    assert b"".join(spool.blocks(offset, length)) == whole[offset:]


def test_memory_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    """Then files, without a name; room that is given back is used again."""
    spools = Spools(100, tmp_path)
    first, second, third = spools.make(60), spools.make(40), spools.make(1)
    assert [spool.in_memory for spool in (first, second, third)] == [True, True, False]
    assert list(tmp_path.iterdir()) == []
    first.close()
    first.close()
    assert spools.used == 40
    assert spools.make(60).in_memory


@KINDS
def test_a_closed_spool_holds_nothing(limit: int, tmp_path: Path) -> None:
    """An upload of it sends no bytes, and no reader takes an empty chunk for another."""
    spool = Spools(limit, tmp_path).make(10)
    spool.close()
    assert (spool.size, bytes(spool.read(0, 10)), list(spool.blocks())) == (0, b"", [])
    spool.write(0, b"")
    with pytest.raises(StoreError, match="bytes 0 to 1 of 0"):
        spool.write(0, b"x")


def test_memory_is_used_again_once_its_leases_are_released() -> None:
    """To get a megabyte from the kernel takes longer than to receive it."""
    spools = Spools(1 << 30)
    spool = _filled(spools, b"a")
    with spool.read(0, 9) as view, spool.read(5, BLOCK_BYTES):
        memory = view.obj
    spool.close()
    assert spools.spare == BLOCK_BYTES
    with spools.make(BLOCK_BYTES).read(0, BLOCK_BYTES) as view:
        assert view.obj is memory
    assert spools.spare == 0


def test_memory_that_is_wanted_as_zeros_is_cleared_before_it_is_used_again() -> None:
    """A sum begins at zero, whatever lay there before."""
    spools = Spools(1 << 30)
    _filled(spools, b"a").close()
    with spools.make(BLOCK_BYTES, zeros=True).read(0, BLOCK_BYTES) as view:
        assert view == bytes(BLOCK_BYTES)


@pytest.mark.parametrize(
    "hold",
    [
        pytest.param(lambda view: view, id="view"),
        pytest.param(lambda view: view[7:], id="part of a view"),
        pytest.param(lambda view: np.frombuffer(view, np.uint8), id="array"),
        pytest.param(lambda view: np.frombuffer(view, np.uint8)[9:], id="part of an array"),
    ],
)
def test_a_lent_buffer_is_never_used_again_before_it_is_released(
    hold: Callable[[memoryview], Any],
) -> None:
    """A trainer's weights must not turn into another model's while it trains."""
    spools = Spools(1 << 30)
    spool = _filled(spools, b"a")
    view = spool.read(0, BLOCK_BYTES)
    lease = hold(view)
    if lease is not view:
        view.release()  # what was made from it is a lease of its own
    spool.close()
    _filled(spools, b"b")
    assert set(bytes(lease)) == {ord("a")}
    assert spools.spare == 0


def test_an_unreleased_lease_costs_its_memory_only() -> None:
    """The next spool gets memory of its own, and later ones use that again."""
    spools = Spools(1 << 30)
    spool = _filled(spools, b"a")
    forgotten = spool.read(0, 1)
    spool.close()
    assert (spools.used, spools.spare) == (0, 0)
    _filled(spools, b"b").close()
    assert (spools.used, spools.spare) == (0, BLOCK_BYTES)
    assert bytes(forgotten) == b"a"


def test_spare_memory_has_a_bound() -> None:
    """What waits for the next spool counts against the limit, and against a bound besides."""
    size = MAX_SPARE_BYTES // 2
    spools = Spools(1 << 30)
    opened = [spools.make(size) for _ in range(3)]
    for spool in opened:
        spool.close()
    assert 0 < spools.spare <= MAX_SPARE_BYTES
    small = Spools(2 * BLOCK_BYTES)
    _filled(small, b"a").close()
    assert small.spare == BLOCK_BYTES
    other = small.make(BLOCK_BYTES + 1)
    assert (other.in_memory, small.spare) == (True, 0)


@given(data=st.data())
def test_whatever_is_lent_and_closed_no_lease_ever_changes(data: st.DataObject) -> None:
    """In any order of making, lending, releasing and closing, with few sizes so that they meet."""
    spools, opened, leases = Spools(1 << 30), list[Spool](), list[tuple[memoryview, int]]()
    for number in range(data.draw(st.integers(1, 40), "steps")):
        step = data.draw(st.sampled_from(["make", "lend", "release", "close"]), "step")
        if step == "make":
            size = data.draw(st.sampled_from([1 << 16, 1 << 17]), "size")
            opened.append(spools.make(size))
            opened[-1].write(0, bytes([number]) * size)
        elif step == "lend" and opened:
            view = data.draw(st.sampled_from(opened), "spool").read(3, 5)
            leases.append((view, view[0]))
        elif step == "release" and leases:
            leases.pop(data.draw(st.integers(0, len(leases) - 1), "lease"))[0].release()
        elif step == "close" and opened:
            opened.pop(data.draw(st.integers(0, len(opened) - 1), "spool")).close()
        assert all(view == bytes([content]) * 5 for view, content in leases)
    assert spools.used == sum(spool.size for spool in opened)


def _filled(spools: Spools, content: bytes) -> Spool:
    spool = spools.make(BLOCK_BYTES)
    spool.write(0, content * BLOCK_BYTES)
    return spool


@pytest.mark.parametrize(("offset", "size"), [(-1, 1), (10, 1), (7, 4), (0, 11)])
@KINDS
def test_bytes_beyond_the_size_are_refused(
    limit: int, offset: int, size: int, tmp_path: Path
) -> None:
    """Whatever a peer says."""
    with pytest.raises(StoreError, match="of 10"):
        Spools(limit, tmp_path).make(10).write(offset, bytes(size))


def test_a_full_disk_is_told_to_who_reads_not_to_who_writes(
    tmp_path: Path, small_disk: int
) -> None:
    """Bytes that arrive must not end a service; bytes that are missing must not be trusted."""
    spool = _large(tmp_path, small_disk)
    spool.write(small_disk - 2, b"four")
    for use in (spool.digest, lambda: spool.read(0, 1), lambda: list(spool.blocks())):
        with pytest.raises(StoreError, match=f"File too large, in {tmp_path}"):
            use()


def _large(folder: Path, limit: int) -> Spool:
    """Make a spool that the disk cannot hold, once it is written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 * limit, before[1]))
    try:
        return Spools(0, folder).make(2 * limit)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """So is the one that holds no more."""
    with pytest.raises(StoreError, match=f"No such file or directory, in {tmp_path / 'gone'}"):
        Spools(0, tmp_path / "gone").make(1)


def test_a_file_that_cannot_be_made_large_enough_is_let_go(tmp_path: Path, small_disk: int) -> None:
    """Neither its name nor its descriptor stays."""
    before = open_files_in(tmp_path)
    with pytest.raises(StoreError, match=f"File too large, in {tmp_path}"):
        Spools(0, tmp_path).make(small_disk + 1)
    assert list(tmp_path.iterdir()) == []
    assert open_files_in(tmp_path) == before


def test_files_go_where_the_system_keeps_them_unless_told_otherwise() -> None:
    """And are gone when they are closed."""
    spools = Spools(0)
    spool = spools.make(3)
    spool.write(0, b"abc")
    assert bytes(spool.read(0, 3)) == b"abc"
    assert spools.folder.is_dir()
    spool.close()


@pytest.mark.parametrize("limit", [0, 1000], ids=["file", "memory"])
def test_a_spool_can_be_shortened(limit: int) -> None:
    """To the size that is known only after the content was made."""
    spools = Spools(limit)
    spool = spools.make(10)
    spool.write(0, b"0123456789")
    spool.shorten(4)
    assert bytes(spool.read(0, 10)) == b"0123"
    assert bytes(spool.read(5, 2)) == b""
    assert spool.digest() == digest_of(b"0123")
    with pytest.raises(StoreError):
        spool.write(3, b"xx")
    with pytest.raises(StoreError, match="5 bytes of 4"):
        spool.shorten(5)
    spool.close()
    assert spools.used == 0
