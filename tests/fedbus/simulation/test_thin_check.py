"""The oracle's check of thin blobs: what it accepts and what it notices."""

from collections.abc import Mapping

import numpy as np
import pytest

from fedbus import compression
from fedbus.compression.round_chance import round_rng
from fedbus.core.blob_io import BlobSource
from fedbus.model.layout import Array, Layout
from fedbus.simulation.stored_records import RecordsError
from fedbus.simulation.thin_check import check_thin
from fedbus.training.params import PluginChoice
from fedbus.wire.blobs import CompressedBlob, Compression, blob_ref_of
from fedbus.wire.round_records import RoundRecord
from fedbus.wire.strategies import Strategy

WEIGHTS: Mapping[str, Array] = {
    "w": np.linspace(-2, 3, 400, dtype=np.float32),
    "mean": np.ones(2, np.float32),
    "steps": np.array(7),
}
LAYOUT = Layout.of(WEIGHTS, {"mean": "statistic"})
BITS = (PluginChoice(id="quantize", parameters={"bits": 4}), PluginChoice(id="zstandard"))
CAST = (PluginChoice(id="cast"),)


class Blobs:
    """A store of blobs in memory."""

    def __init__(self, *contents: bytes) -> None:
        self._contents = {blob_ref_of(each).digest: each for each in contents}

    def history(self) -> tuple[()]:
        return ()

    def open_blob(self, digest: str) -> BlobSource | None:
        return _Bytes(self._contents[digest]) if digest in self._contents else None


class _Bytes:
    def __init__(self, content: bytes) -> None:
        self.size, self._content = len(content), content

    def read(self, offset: int, length: int) -> memoryview:
        return memoryview(self._content)[offset : offset + length]


def thin_of(
    weights: Mapping[str, Array] = WEIGHTS, steps: Compression = BITS, task: int = 5
) -> bytes:
    """Make a thin blob, as a collector does."""
    rng = round_rng("download", "job-1", 2, task)
    return bytes(compression.encode(weights, LAYOUT, steps, rng, content="plain"))


def check(content: bytes | None, steps: Compression = BITS, wanted: Compression = BITS) -> None:
    """Check a round with this thin blob."""
    thin = None
    if content is not None:
        thin = CompressedBlob(blob=blob_ref_of(content), compression=steps)
    record = RoundRecord(
        job="job-1",
        round=2,
        task=5,
        model="tiny",
        parent=1,
        spec=blob_ref_of(b""),
        strategy=Strategy(id="fedavg", aggregator=PluginChoice(id="mean"), download=wanted),
        contributors=(),
        refusals=(),
        metrics={},
        seconds={},
        thin=thin,
    )
    check_thin(Blobs(b"" if content is None else content), record, LAYOUT, WEIGHTS)


def test_the_blob_of_a_collector_is_accepted() -> None:
    """And none where the job wants none."""
    check(thin_of())
    check(thin_of(steps=CAST), CAST, CAST)
    check(None, wanted=())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "made by other steps"),
        (b"x" * 100, "not a weights blob"),
        (thin_of({**WEIGHTS, "w": WEIGHTS["w"] + np.float32(0.5)}), "too far from tensor 'w'"),
        (thin_of({**WEIGHTS, "steps": np.array(8)}), "changes tensor 'steps'"),
        (thin_of(task=6), "other bytes when its task is repeated"),
    ],
    ids=["missing", "nonsense", "other weights", "another counter", "another task"],
)
def test_another_blob_is_noticed(content: bytes | None, reason: str) -> None:
    """Each round's agents have started from it."""
    with pytest.raises(RecordsError, match=reason):
        check(content)
