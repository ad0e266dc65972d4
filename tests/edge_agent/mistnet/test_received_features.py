"""Features of other agents on the disk: checked when they are written and when they are read."""

import os
from pathlib import Path

import pytest

from fedbus.blobs.spool import Spools
from fedbus.errors import TransferError
from fedbus.wire.blobs import BlobRef, blob_ref_of
from fedbus_edge_agent.mistnet.received_features import MAX_RECEIVED_JOBS, ReceivedFeatureFiles


def save(files: ReceivedFeatureFiles, job: str, data: bytes) -> BlobRef:
    """Store a blob that has arrived."""
    spool = Spools(1 << 20).make(len(data))
    spool.write(0, data)
    files.save(job, blob_ref_of(data), spool)
    return blob_ref_of(data)


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    """Byte for byte, for its own job only."""
    files = ReceivedFeatureFiles.of(tmp_path)
    blob_ref = save(files, "job", b"features")
    assert bytes(files.read("job", blob_ref)) == b"features"
    assert not files.has("other", blob_ref)


@pytest.mark.parametrize("data", [b"", b"short"])
def test_a_blob_of_another_size_is_none(tmp_path: Path, data: bytes) -> None:
    """Neither an empty one, which cannot be mapped to memory, nor one that is not there."""
    files = ReceivedFeatureFiles.of(tmp_path)
    blob_ref = blob_ref_of(data)
    if not data:
        save(files, "job", data)
    with pytest.raises(TransferError, match=f"not the {len(data)} bytes"):
        files.read("job", blob_ref)


def test_features_of_the_oldest_jobs_are_removed(tmp_path: Path) -> None:
    """An agent is not always told when a job ends; a running job fetches its features again."""
    files = ReceivedFeatureFiles.of(tmp_path)
    for number in range(MAX_RECEIVED_JOBS):
        save(files, f"job-{number}", b"features")
        os.utime(files.folder / f"job-{number}", (number, number))
    save(files, "newest", b"features")
    kept = {path.name for path in files.folder.iterdir()}
    assert kept == {"newest", *(f"job-{number}" for number in range(1, MAX_RECEIVED_JOBS))}
