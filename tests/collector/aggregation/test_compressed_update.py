"""Compressed updates at the collector, as they come from an agent."""

import tracemalloc
from typing import Any

import numpy as np
import pytest

from fedbus.blobs.spool import Spools
from fedbus.compression import encode
from fedbus.model.blob import decode
from fedbus.model.blob_header import blob_size
from fedbus.model.frozen_bits import FrozenBits
from fedbus.model.layout import Layout, Tensor
from fedbus.training.params import PluginChoice
from fedbus_collector.aggregation.compressed_update import UpdateDecoder

TINY = Layout((Tensor("b", (1,), "float32"), Tensor("w", (2,), "float32")))
BROAD = Layout((Tensor("w", (3_000_000,), "float32"),))


def step(name: str, **parameters: Any) -> PluginChoice:  # noqa: ANN401 - numbers
    """Return a step of a chain."""
    return PluginChoice(id=name, parameters=parameters)


SPARSE = (step("top-k", fraction=0.4), step("quantize"), step("zstandard"))


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize("steps", [SPARSE, (step("zstandard"),), (step("random-k", fraction=1),)])
def test_an_update_that_compression_makes_larger_is_read(
    steps: tuple[PluginChoice, ...], *, in_file: bool
) -> None:
    """The header of a model of three numbers is longer than they are: nothing is refused."""
    decoder = UpdateDecoder(TINY, steps)
    differences = {"b": np.array([0.0]), "w": np.array([4.0, -4.0])}
    made = encode(differences, TINY, steps, np.random.default_rng(0))
    assert decoder.bounds.least <= len(made) <= decoder.bounds.most
    assert len(made) > decoder.delta_bytes
    spools = Spools(0 if in_file else 2**20)
    update, delta = spools.make(len(made)), spools.make(decoder.delta_bytes)
    update.write(0, made)
    decoder.decode(update, delta)
    with delta.read(0, delta.size) as whole:
        read = decode(bytes(whole), TINY, "delta")
    assert read["b"].tolist() == [0.0]
    assert read["w"].tolist() == [4.0, -4.0]


def test_decoding_takes_little_memory_beside_the_spools() -> None:
    """An update of 12 MB into a spool that is a file, with frozen numbers."""
    frozen = FrozenBits(3_000_000)
    frozen.freeze(0, np.random.default_rng(1).random(3_000_000) < 0.1)
    decoder = UpdateDecoder(BROAD, SPARSE, frozen)
    rng = np.random.default_rng(2)
    made = encode({"w": rng.normal(size=3_000_000)}, BROAD, SPARSE, rng, frozen)
    update = Spools(2**24).make(len(made))
    update.write(0, made)
    delta = Spools(0).make(blob_size(BROAD, "delta"))
    del made
    tracemalloc.start()
    try:
        decoder.decode(update, delta)
        used = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert used < 4 * 2**20
