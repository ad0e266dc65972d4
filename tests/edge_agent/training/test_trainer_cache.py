"""Cache of the trainers that were used last."""

from dataclasses import replace

from fedbus_edge_agent.training.trainer_cache import (
    MAX_TRAINERS,
    MAX_TRAINERS_BYTES,
    CachedTrainer,
    TrainerCache,
)
from tests.edge_agent.training.test_local_trainer import SPEC, Nudge

SPECS = [replace(SPEC, model=f"model-{number}") for number in range(2 * MAX_TRAINERS)]


def loaded(made: TrainerCache, *numbers: int, size: int = 1) -> list[int]:
    """Use models in turn; return the numbers of those that had to be loaded."""
    anew = []
    for number in numbers:
        if made.find(SPECS[number], "nudge") is None:
            anew.append(number)
            made.make_room(size)
            made.add(CachedTrainer(SPECS[number], "nudge", None, size, Nudge({})))
    return anew


def test_models_that_take_turns_are_loaded_once() -> None:
    """Each one that is loaded costs memory that its framework never frees."""
    made = TrainerCache()
    assert made.last is None
    assert loaded(made, *(0, 1) * 1000) == [0, 1]
    assert made.last is made.find(SPECS[1], "nudge")
    assert made.find(replace(SPECS[0]), "nudge") is not None  # read again from the disk
    assert made.find(SPECS[0], "other") is None


def test_a_bounded_number_of_trainers_is_cached() -> None:
    """Those that were used last."""
    made = TrainerCache()
    assert loaded(made, *range(MAX_TRAINERS), 0, MAX_TRAINERS, 0, 1) == [
        *range(MAX_TRAINERS + 1),
        1,
    ]


def test_a_large_model_is_cached_alone() -> None:
    """A small device may not hold two of them."""
    made = TrainerCache()
    assert loaded(made, 0, 1, 0, size=MAX_TRAINERS_BYTES // 2) == [0, 1]
    assert loaded(made, 2, size=MAX_TRAINERS_BYTES + 1) == [2]
    assert made.find(SPECS[0], "nudge") is None
    assert loaded(made, 2, size=MAX_TRAINERS_BYTES + 1) == []
    assert loaded(made, 3) == [3]
    assert made.find(SPECS[2], "nudge") is None
