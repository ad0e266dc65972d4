"""Thin blobs of versions: agents train from them, and what they lack never gets lost."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedbus.blobs.spool import Spool, Spools
from fedbus.compression import compressed_bounds, decode
from fedbus.compression.round_chance import round_rng
from fedbus.model import blob as weights_blob
from fedbus.model.layout import Layout
from fedbus.training.params import PluginChoice
from fedbus.wire.blobs import BlobRef, blob_ref_of
from fedbus_collector.aggregation.thin_version import ThinVersion
from tests.collector.aggregation.aggregated_round import AggregatedRound

CHAINS = {
    "cast": (PluginChoice(id="cast"),),
    "8 bits": (PluginChoice(id="quantize", parameters={"bits": 8}), PluginChoice(id="zstandard")),
    "4 bits": (PluginChoice(id="quantize", parameters={"bits": 4}), PluginChoice(id="zstandard")),
}
Numbers = dict[str, NDArray[Any]]


def thin_of(
    weights: Numbers, layout: Layout, steps: tuple[PluginChoice, ...], task: int, spools: Spools
) -> tuple[bytes, BlobRef]:
    """Write the thin blob of weights; return it with its reference."""
    blob = bytes(weights_blob.encode(weights, layout))
    version = spools.make(len(blob))
    version.write(0, blob)
    out: Spool = spools.make(compressed_bounds(layout, steps, content="plain").most)
    made = ThinVersion(steps, round_rng("download", "job-1", 1, task), out).write(version, layout)
    assert out.size == made.size
    return bytes(out.read(0, 2 * made.size)), made


@pytest.mark.parametrize("steps", CHAINS.values(), ids=CHAINS)
def test_errors_of_thin_blobs_do_not_add_up(steps: tuple[PluginChoice, ...]) -> None:
    """After rounds of known updates the version is their exact sum, whatever agents started from.

    Updates are multiples of 1/1024, so float32 adds them without rounding.
    """
    rng = np.random.default_rng(1)
    weights: Numbers = {"w": rng.standard_normal((20, 30)).astype("f4"), "b": np.zeros(7, "f4")}
    weights["w"] = np.round(weights["w"] * 1024).astype("f4") / 1024
    expected = {name: array.astype(np.float64) for name, array in weights.items()}
    errors = []
    for round_ in range(1, 30):
        work = AggregatedRound(weights)
        content, _ = thin_of(weights, work.layout, steps, round_, work.spools)
        started = weights_blob.decode(
            decode(content, work.layout, steps, content="plain"), work.layout
        )
        errors.append(float(np.abs(started["w"] - weights["w"]).max()))
        for _ in range(2):
            update = {
                name: (rng.integers(-64, 64, array.shape) / 512).astype("f4")
                for name, array in weights.items()
            }
            assert not work.give_update(update)
            expected = {name: expected[name] + update[name] / 2.0 for name in expected}
        weights = {name: array.copy() for name, array in work.close().items()}
        assert all(np.array_equal(weights[name], expected[name]) for name in weights)
    assert min(errors) > 0, "agents never started from the version itself"


def test_a_repeated_task_makes_the_same_bytes() -> None:
    """A collector that is killed before its commit is answered offers the same blob again."""
    rng = np.random.default_rng(2)
    weights: Numbers = {
        "w": rng.standard_normal(1000).astype("f4"),
        "steps": np.array([2**60, 3]),
        "own": rng.standard_normal(5),
    }
    layout = Layout.of(weights, {"own": "local"})
    spools = Spools(1 << 20)
    content, made = thin_of(weights, layout, CHAINS["4 bits"], 7, spools)
    assert made == blob_ref_of(content)
    assert thin_of(weights, layout, CHAINS["4 bits"], 7, spools) == (content, made)
    assert thin_of(weights, layout, CHAINS["4 bits"], 8, spools) != (content, made)
    read = weights_blob.decode(decode(content, layout, CHAINS["4 bits"], content="plain"), layout)
    assert read["steps"].tolist() == [2**60, 3]
    assert np.array_equal(read["own"], weights["own"])


def test_a_file_is_read_as_memory_is() -> None:
    """A model that is larger than the memory of the spools."""
    weights: Numbers = {"w": np.arange(100, dtype="f4")}
    layout = Layout.of(weights)
    found = [thin_of(weights, layout, CHAINS["8 bits"], 1, Spools(limit)) for limit in (0, 1 << 20)]
    assert found[0] == found[1]
