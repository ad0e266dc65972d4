"""Updates on a real disk: whole, or not at all."""

import resource
from pathlib import Path
from shutil import rmtree

import pytest

from fedbus.errors import StoreError
from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.messages import Offer
from fedbus_edge_agent.training.outbox import Outbox, StoredOffer
from tests.edge_agent.harness import COLLECTOR, JOB
from tests.open_files import open_files_in

UPDATE = bytes(range(256)) * 8192
"""Two blocks of what a digest reads at once."""


def stored_offer(update: bytes = UPDATE, job: str = JOB, task: int = 1) -> StoredOffer:
    """Return the offer of an update."""
    offer = Offer(
        job=job,
        round=1,
        task=task,
        base=1,
        update=blob_ref_of(update),
        examples=3,
        metrics={"loss": 0.5},
    )
    return StoredOffer(collector=COLLECTOR, offer=offer)


def test_a_saved_update_is_loaded_after_a_restart(tmp_path: Path) -> None:
    """The same offer, the same bytes, in the order of their names."""
    outbox = Outbox(tmp_path / "home" / "agent.a")
    for job, task in ((JOB, 2), (JOB, 1), ("a.b", 7)):
        source = outbox.save(stored_offer(job=job, task=task), UPDATE)
        assert source.read(0, source.size) == UPDATE
    found = Outbox(tmp_path / "home" / "agent.a").load()
    assert [offer for offer, _ in found] == [
        stored_offer(job="a.b", task=7),
        stored_offer(job=JOB, task=1),
        stored_offer(job=JOB, task=2),
    ]
    assert all(source.read(0, source.size) == UPDATE for _, source in found)


def test_a_removed_update_is_gone(tmp_path: Path) -> None:
    """No other is; a second removal changes nothing."""
    outbox = Outbox(tmp_path)
    outbox.save(stored_offer(), UPDATE)
    outbox.save(stored_offer(task=2), UPDATE)
    for _ in range(2):
        outbox.remove(JOB, 1)
    assert [offer.offer.task for offer, _ in outbox.load()] == [2]


def test_an_update_is_served_after_it_was_removed(tmp_path: Path) -> None:
    """Chunks may be on their way; the file is closed with its last user."""
    outbox = Outbox(tmp_path)
    source = outbox.save(stored_offer(), UPDATE)
    outbox.remove(JOB, 1)
    assert source.read(len(UPDATE) - 4, 99) == UPDATE[-4:]
    before = open_files_in(tmp_path)
    del source
    assert open_files_in(tmp_path) == before - 1


def file(folder: Path, task: int = 1) -> Path:
    """Return the path of an update's file."""
    return folder / f"{JOB}~{task}.update"


@pytest.mark.parametrize(
    "tear",
    [
        lambda path: path.write_bytes(UPDATE[:-1]),
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b"!" + path.read_bytes()[1:]),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes()[:-9]),
        lambda path: path.write_bytes(UPDATE),
        lambda path: path.write_bytes(UPDATE + bytes(4)),
        lambda path: path.write_bytes(b""),
    ],
    ids=[
        *("update torn", "update gone", "update damaged", "length torn", "offer torn"),
        *("offer not written", "offer empty", "nothing written"),
    ],
)
def test_an_incomplete_update_is_removed(tmp_path: Path, tear: object) -> None:
    """Complete ones stay."""
    outbox = Outbox(tmp_path)
    outbox.save(stored_offer(), UPDATE)
    outbox.save(stored_offer(task=2), UPDATE)
    file(tmp_path, 3).write_bytes(b"torn")
    assert callable(tear)
    tear(file(tmp_path))
    found = Outbox(tmp_path).load()
    assert [offer.offer.task for offer, _ in found] == [2]
    assert list(tmp_path.iterdir()) == [file(tmp_path, 2)]


def test_a_disk_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Nothing of the update stays behind."""
    outbox = Outbox(tmp_path)
    before = open_files_in(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(UPDATE) + 10, limits[1]))
    try:
        with pytest.raises(StoreError, match=f"{tmp_path}: File too large"):
            outbox.save(stored_offer(), UPDATE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert open_files_in(tmp_path) == before  # a file that is open takes its room, removed or not
    assert list(tmp_path.iterdir()) == []
    file(tmp_path).mkdir()
    with pytest.raises(StoreError, match=f"{tmp_path}: Is a directory"):
        outbox.save(stored_offer(), UPDATE)


def test_a_folder_that_was_removed_is_created_again(tmp_path: Path) -> None:
    """A user may remove it while the agent runs: the next update is saved nevertheless."""
    outbox = Outbox(tmp_path / "home" / "agent.a")
    outbox.folder.rmdir()
    outbox.folder.parent.rmdir()
    outbox.save(stored_offer(), UPDATE)
    assert len(outbox.load()) == 1
    rmtree(tmp_path / "home")
    (tmp_path / "home").write_bytes(b"")
    with pytest.raises(StoreError, match="Not a directory"):
        outbox.save(stored_offer(), UPDATE)


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """For example because it is a file."""
    (tmp_path / "home").write_bytes(b"")
    with pytest.raises(StoreError, match="home: File exists"):
        Outbox(tmp_path / "home")
