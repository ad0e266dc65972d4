"""Data are dealt unevenly, and nobody goes without."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.data import npz
from fedbus.errors import TrainingError
from fedbus.layout import Array
from fedbus.split import dirichlet, hold_out, write_digits


@given(
    labels=st.lists(st.integers(0, 9), min_size=20, max_size=200),
    agents=st.integers(1, 20),
    alpha=st.sampled_from([0.01, 0.3, 100.0]),
    seed=st.integers(0, 2**32),
)
def test_every_row_is_dealt_once_and_everyone_gets_some(
    labels: list[int], agents: int, alpha: float, seed: int
) -> None:
    """However uneven the shares are."""
    least = len(labels) // agents
    hands = dirichlet(np.array(labels), agents, alpha, np.random.default_rng(seed), least)
    assert len(hands) == agents
    assert min(map(len, hands)) >= least
    assert sorted(np.concatenate(hands).tolist()) == list(range(len(labels)))


def classes_seen(y: Array, alpha: float) -> float:
    """Deal to eight agents and count the classes each sees, in the mean."""
    hands = dirichlet(y, 8, alpha, np.random.default_rng(0))
    return float(np.mean([len(np.unique(y[hand])) for hand in hands]))


def test_a_small_alpha_gives_agents_few_classes() -> None:
    """That is what makes federated learning hard."""
    y = np.repeat(np.arange(10), 100)
    assert classes_seen(y, 0.05) < 5 < classes_seen(y, 100.0) == 10


def test_too_many_agents_are_refused() -> None:
    """Rather than given empty shards."""
    with pytest.raises(TrainingError, match="5 rows for 6 agents of at least 1 each"):
        dirichlet(np.zeros(5, int), 6, 1.0, np.random.default_rng(0))
    with pytest.raises(TrainingError, match="for 0 agents"):
        dirichlet(np.zeros(5, int), 0, 1.0, np.random.default_rng(0))


def test_the_held_out_part_has_every_class_in_its_share() -> None:
    """So that its accuracy speaks of all of them."""
    y = np.repeat(np.arange(5), [50, 100, 20, 10, 40])
    kept, held = hold_out(y, 0.2, np.random.default_rng(3))
    assert np.bincount(y[held]).tolist() == [10, 20, 4, 2, 8]
    assert sorted([*kept.tolist(), *held.tolist()]) == list(range(len(y)))


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
