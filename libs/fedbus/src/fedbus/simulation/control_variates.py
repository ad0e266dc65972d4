"""Check of SCAFFOLD's control variates: each agent adopted exactly what counted.

S. P. Karimireddy et al., SCAFFOLD, 2020, arXiv 1910.06378, algorithm 1. An agent's own variate c_i
is the sum of the changes of its updates that count, and the server's c is the mean of all c_i. An
agent that adopts a change which did not count, or loses one that did, breaks both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedbus.model.blob import decode
from fedbus.model.blob_header import Blob
from fedbus.model.sections import SECTION_PREFIX, section_numbers, update_layout
from fedbus.simulation.stored_records import (
    RecordsError,
    RoundLike,
    StoredRecords,
    read_state,
    read_weights,
)

TOLERANCE = 1e-6
"""Relative to the sum of the absolute values that were added, as float32, in every round."""
SECTION = "control"

_Sum = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnVariates:
    """What the agents of a job kept, by (agent, task).

    Attributes:
        begun: The variate that a training began with; None for zeros.
        made: The variate that the training would leave.
        adopted: The tasks of each agent whose variate it adopted, in that order; None: unknown.
    """

    begun: Mapping[tuple[str, int], NDArray[np.float32] | None]
    made: Mapping[tuple[str, int], NDArray[np.float32]]
    adopted: Mapping[str, Sequence[int]] | None = None


@dataclass(slots=True)
class _Sums:
    """The sum of the counted changes of one agent, and of their absolute values."""

    change: _Sum
    scale: _Sum
    tasks: list[int] = field(default_factory=list)


def check_control_variates(
    store: StoredRecords,
    job: str,
    updates: Mapping[tuple[str, int], Blob],
    own: OwnVariates,
) -> int:
    """Check the variates of a job that began with none; return the number of counted changes.

    Args:
        updates: Every update that agents offered, by (agent, task).

    Raises:
        RecordsError: An agent began a training with, or adopted, another variate than the sum of
            its changes that counted; or the server's variate is not the mean over the population.
    """
    sums: dict[str, _Sums] = {}
    rounds = [each for each in store.history() if each.record and each.record.job == job]
    for each in rounds:
        _check_round(store, each, updates, own, sums)
    if own.adopted is not None:
        _check_adopted(job, own.adopted, sums)
    return sum(len(found.tasks) for found in sums.values())


def _check_adopted(
    job: str, all_adopted: Mapping[str, Sequence[int]], sums: Mapping[str, _Sums]
) -> None:
    for agent, found in sums.items():
        # The receipt of the last change may come after the end of the job.
        adopted = list(all_adopted.get(agent, ()))
        if adopted not in (found.tasks, found.tasks[:-1]):
            raise RecordsError(
                f"{agent} adopted the variates of tasks {adopted} of job {job!r}, where its updates"
                f" of tasks {found.tasks} count"
            )
    for agent, tasks in all_adopted.items():
        if agent not in sums and tasks:
            raise RecordsError(f"{agent} adopted a variate, and none of its updates counts")


def _check_round(
    store: StoredRecords,
    each: RoundLike,
    updates: Mapping[tuple[str, int], Blob],
    own: OwnVariates,
    sums: dict[str, _Sums],
) -> None:
    record = each.record
    assert record is not None  # noqa: S101 - the caller has checked
    layout, _ = read_weights(store, each.version)
    numbers = section_numbers(layout)
    shape = update_layout(layout, record.strategy.sections)
    for one in record.contributors:
        what = f"round {record.round} of job {record.job!r}: {one.agent}"
        found = sums.setdefault(one.agent, _Sums(np.zeros(numbers), np.zeros(numbers)))
        key = one.agent, one.task
        begun = own.begun[key]
        variate = np.zeros(numbers) if begun is None else begun
        _check_sum(f"{what} began with a variate that", variate, found)
        change = decode(updates[key], shape, "delta")[SECTION_PREFIX + SECTION]
        found.change += change
        found.scale += np.abs(change)
        found.tasks.append(one.task)
        _check_sum(f"{what} made a variate that", own.made[key], found)
    control = read_state(store, record, layout)[SECTION]
    population = record.strategy.population or 0
    mean, scale = np.zeros(numbers), np.zeros(numbers)
    for found in sums.values():
        mean += found.change / population
        scale += found.scale / population
    if not (np.abs(control - mean) <= TOLERANCE * scale).all():
        raise RecordsError(
            f"round {record.round} of job {record.job!r}: the server's variate is not the mean of"
            f" those of {population} agents: it differs by {np.abs(control - mean).max():.3g}"
        )


def _check_sum(what: str, variate: NDArray[Any], expected: _Sums) -> None:
    error = np.abs(variate - expected.change)
    if not (error <= TOLERANCE * expected.scale).all():
        raise RecordsError(
            f"{what} is not the sum of its changes in tasks {expected.tasks}, which count: it"
            f" differs by {error.max():.3g}"
        )
