"""The handwritten digits are partitioned unevenly, and every agent has some."""

from pathlib import Path

import pytest

from fedbus.data import npz
from fedbus.data.digits import write_digits
from fedbus.data.partition import SAMPLERS
from fedbus.errors import SettingsError

SIZES = [239, 97, 126, 205, 229, 179, 99, 264]
"""Of the demo's eight shards."""


def test_the_digits_are_written_as_shards_the_same_every_time(tmp_path: Path) -> None:
    """One per agent, and one that only an evaluator sees."""
    shards = write_digits(tmp_path / "a", 8)
    again = write_digits(tmp_path / "b", 8)
    assert [shard.name for shard in shards] == [f"agent.{n}.npz" for n in range(1, 9)]
    held = npz(str(tmp_path / "a" / "held_out.npz"))
    sizes = [npz(str(shard)).examples for shard in shards]
    assert sum(sizes) + held.examples == 1797
    assert held.examples == pytest.approx(0.2 * 1797, abs=5)
    assert min(sizes) >= 16
    for one, other in zip(shards, again, strict=True):
        assert one.read_bytes() == other.read_bytes()
    x, y = next(held.batches())
    assert (x.shape[1], x.dtype.name, y.dtype.name) == (64, "float32", "int64")
    assert 0.0 <= x.min() < x.max() <= 1.0


def test_two_hundred_agents_all_get_digits(tmp_path: Path) -> None:
    """Without a floor, several of them would get none."""
    assert min(npz(str(shard)).examples for shard in write_digits(tmp_path, 200)) >= 3


@pytest.mark.parametrize("by", SAMPLERS)
def test_every_sampler_deals_the_digits(tmp_path: Path, by: str) -> None:
    """By its bare name, with what it takes by default."""
    shards = write_digits(tmp_path, 10, by)
    sizes = [npz(str(shard)).examples for shard in shards]
    held = npz(str(tmp_path / "held_out.npz")).examples
    times = 10 if by == "all-inclusive" else 1
    assert sum(sizes) == times * (1797 - held)
    assert min(sizes) >= 16


def test_a_sampler_gets_its_options(tmp_path: Path) -> None:
    """Two classes for everyone, and no more."""
    for shard in write_digits(tmp_path, 10, "label-quantity:2"):
        assert len({int(label) for _, y in npz(str(shard)).batches() for label in y}) == 2
    with pytest.raises(SettingsError, match="no sampler 'fair'"):
        write_digits(tmp_path, 10, "fair")


def test_the_default_is_what_the_demo_was_measured_with(tmp_path: Path) -> None:
    """Dirichlet with alpha 0.3: other digits would be another demo."""
    plain, said = write_digits(tmp_path / "a", 8), write_digits(tmp_path / "b", 8, "dirichlet:0.3")
    assert [shard.read_bytes() for shard in plain] == [shard.read_bytes() for shard in said]
    assert [npz(str(shard)).examples for shard in plain] == SIZES
