"""The oracle finds whatever cannot be true. Fault tests stand on it, so each finding is tried."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from fedbus.core.blob_io import BlobSource
from fedbus.jobs import StrategyConfig
from fedbus.jobs.plugin_options import ChoiceConfig
from fedbus.model.blob import encode
from fedbus.model.layout import Layout, Tensor
from fedbus.simulation.offered_deltas import Update
from fedbus.simulation.oracle import RecordCounts, check_records
from fedbus.simulation.stored_records import RecordsError
from fedbus.strategies.resolution import resolve
from fedbus.wire.blobs import BlobRef, blob_ref_of
from fedbus.wire.documents import TensorSpec
from fedbus.wire.round_records import Contributor, RoundRecord
from fedbus_repository.stores.records import HistoryEntry, Version
from tests.repository.harness import FILE, JOB, LAYOUT, MODEL, contributor, spec, update, weights

SPECS = tuple(TensorSpec(name=t.name, shape=t.shape, dtype=t.dtype) for t in LAYOUT.tensors)


@dataclass
class Bytes:
    """A source."""

    data: bytes

    @property
    def size(self) -> int:
        """Count them."""
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        """Take some."""
        return self.data[offset : offset + length]


@dataclass
class Held:
    """A trail that a test can spoil: two rounds of two agents, each update worth its number."""

    rounds: list[HistoryEntry] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    updates: dict[tuple[str, int], Update] = field(default_factory=dict)

    def history(self) -> Iterable[HistoryEntry]:
        """Read it."""
        return self.rounds

    def open_blob(self, digest: str) -> BlobSource | None:
        """Find one."""
        return Bytes(self.blobs[digest]) if digest in self.blobs else None

    def put(self, content: bytes) -> BlobRef:
        """Hold a blob."""
        self.blobs[blob_ref_of(content).digest] = content
        return blob_ref_of(content)

    def version(self, at: int, **changes: object) -> None:
        """Spoil a version."""
        self.rounds[at] = replace(
            self.rounds[at],
            version=replace(self.rounds[at].version, **changes),  # type: ignore[arg-type]
        )

    def record(self, at: int, **changes: object) -> None:
        """Spoil a record."""
        record = self.rounds[at].record
        assert record is not None
        self.rounds[at] = replace(self.rounds[at], record=replace(record, **changes))  # type: ignore[arg-type]


def contributors(task: int) -> tuple[Contributor, ...]:
    """One example of 1, three of 2, plus ten a task: a mean of 1.75 + 10 * task."""
    return (
        contributor("agent.a", task, update(10 * task + 1), examples=1, share=0.25),
        contributor("agent.b", task, update(10 * task + 2), examples=3, share=0.75),
    )


def true_trail() -> Held:
    """Return consistent records."""
    held = Held()
    stated, value = held.put(spec()), 0.0
    held.put(FILE)
    for number in range(3):
        version = Version(
            model=MODEL,
            version=number + 1,
            parent=number or None,
            weights=held.put(weights(value)),
            spec=stated,
        )
        record = None
        if number:
            version = replace(version, job=JOB, round=number)
            record = RoundRecord(
                job=JOB,
                round=number,
                task=number,
                model=MODEL,
                parent=number,
                spec=stated,
                strategy=resolve(StrategyConfig()),
                contributors=contributors(number),
                refusals=(),
                metrics={},
                seconds={},
            )
            for at, one in enumerate(("agent.a", "agent.b"), start=1):
                held.updates[one, number] = update(10 * number + at)
        held.rounds.append(HistoryEntry(version=version, record=record))
        value += 1.75 + 10 * (number + 1)
    return held


@pytest.fixture(name="held")
def _held() -> Held:
    return true_trail()


def test_a_true_trail_passes(held: Held) -> None:
    """And it says how much of it was summed again."""
    assert check_records(held) == RecordCounts(versions=3, rounds=2, summed=0)
    assert check_records(held, held.updates) == RecordCounts(versions=3, rounds=2, summed=2)
    assert check_records(held, {}, job="another") == RecordCounts(versions=3, rounds=2, summed=0)


def test_a_version_without_weights_is_not_summed(held: Held) -> None:
    """Retention may have deleted what it would need."""
    held.version(0, kept=False)
    assert check_records(held, held.updates).summed == 1


def test_updates_may_be_arrays(held: Held) -> None:
    """A test that never wrote a blob has those."""
    updates: dict[tuple[str, int], Update] = {
        (agent, task): np.full(9, 10 * task + at, np.float32)
        for task in (1, 2)
        for at, agent in enumerate(("agent.a", "agent.b"), start=1)
    }
    assert check_records(held, updates).summed == 2


def test_an_unweighted_round_is_a_plain_mean(held: Held) -> None:
    """The record says which it was."""
    equal = tuple(replace(one, coefficient=0.5) for one in contributors(1))
    held.record(1, contributors=equal)
    with pytest.raises(RecordsError, match=r"are \[0.5, 0.5\], where a mean has \[0.25, 0.75\]"):
        check_records(held, held.updates)
    unweighted = ChoiceConfig(id="mean", parameters={"weighted": False})
    held.record(1, strategy=resolve(StrategyConfig(aggregator=unweighted)))
    with pytest.raises(RecordsError, match="is not the mean of its updates"):
        check_records(held, held.updates)
    held.version(1, weights=held.put(weights(11.5)))
    held.version(2, weights=held.put(weights(11.5 + 21.75)))
    assert check_records(held, held.updates).summed == 2


MIXED = Layout(
    (
        Tensor("counter", (2,), "int64", "statistic"),
        Tensor("half", (2,), "float16"),
        Tensor("mine", (2,), "float32", "local"),
        Tensor("switch", (2,), "bool"),
    )
)
"""Every kind of tensor that is summed in its own way."""


def mixed(counter: int, half: float, mine: float = 1.0, switch: bool = False) -> bytes:
    """Write a version of a model of them."""
    weights = {
        "counter": np.array([2**60, counter]),
        "half": np.array([0, half], np.float16),
        "mine": np.full(2, mine, np.float32),
        "switch": np.array([False, switch]),
    }
    return bytes(encode(weights, MIXED))


def hold_mixed(held: Held, *versions: bytes) -> dict[tuple[str, int], Update]:
    """Hold such a model; each round its agents move by 1 and by 2, with weights 1 and 3."""
    specs = [
        TensorSpec(name=t.name, shape=t.shape, dtype=t.dtype, role=t.role) for t in MIXED.tensors
    ]
    stated = held.put(spec(layout=tuple(specs)))
    for at, blob in enumerate(versions):
        held.version(at, spec=stated, weights=held.put(blob))
        if at:
            held.record(at, spec=stated)
    moves = {"agent.a": [0, 1, 0, 1, 0, 0], "agent.b": [0, 2, 0, 2, 0, 1]}
    return {key: np.array(moves[key[0]], np.float64) for key in held.updates}


def test_every_dtype_is_summed_in_its_own_way(held: Held) -> None:
    """Whole numbers are rounded, truth values outvoted, and local tensors stay as they were."""
    updates = hold_mixed(held, mixed(5, 0), mixed(7, 1.75, switch=True), mixed(9, 3.5, switch=True))
    updates["agent.b", 2] = np.array([0, 2, 0, 2, 0, 0], np.float64)
    assert check_records(held, updates).summed == 2


@pytest.mark.parametrize(
    ("second", "finding"),
    [
        (mixed(8, 1.75, switch=True), "tensor 'counter' differs by 1.25"),
        (mixed(7, 1.70, switch=True), "tensor 'half' differs by 0.0498"),
        (mixed(7, 1.75, mine=2.0, switch=True), "changed tensor 'mine', which is local"),
        (mixed(7, 1.75), "tensor 'switch' differs by 0.75"),
    ],
    ids=["counter", "half", "mine", "switch"],
)
def test_a_tensor_that_is_not_the_mean_is_found_whatever_its_dtype(
    held: Held, second: bytes, finding: str
) -> None:
    """The oracle of every fault test must not look away from what is no float32."""
    updates = hold_mixed(held, mixed(5, 0), second, mixed(0, 0))
    with pytest.raises(RecordsError, match=finding):
        check_records(held, updates)


def swap(held: Held) -> None:
    """Change places of the two rounds of one job, keeping the versions in line."""
    held.version(1, round=2)
    held.record(1, round=2)
    held.version(2, round=1)
    held.record(2, round=1)


def twice(held: Held) -> None:
    """Count an update of round 1 in round 2 as well."""
    held.record(2, contributors=(*contributors(2), contributors(1)[0]))


@pytest.mark.parametrize(
    ("spoil", "finding"),
    [
        (lambda h: h.version(1, version=5), "version 5 of model 'digits' follows version 1"),
        (lambda h: h.version(0, version=0), "version 0 of model 'digits' follows version None"),
        (lambda h: h.version(1, parent=7), "expected parent 1, got 7"),
        (lambda h: h.version(2, kept=False), "the newest one, has lost its weights"),
        (lambda h: h.version(1, job=None), "has no record, or its record has no job"),
        (lambda h: h.record(1, parent=9), "which its record contradicts"),
        (swap, "round 1 of job 'digits-1' follows round 2"),
        (twice, "counts agent.a's update for task 1, which counted in round 1"),
        (lambda h: h.blobs.pop(blob_ref_of(FILE).digest), "the own file of version 1"),
        (lambda h: h.blobs.pop(blob_ref_of(spec()).digest), "the spec of version 1 .* be read"),
        (
            lambda h: h.blobs.update({blob_ref_of(weights(0)).digest: b"short"}),
            "bytes, got 5",
        ),
        (
            lambda h: h.blobs.update({blob_ref_of(weights(0)).digest: weights(1)}),
            "its content does not match its digest",
        ),
        (
            lambda h: h.updates.pop(("agent.a", 1)),
            "agent.a did not offer, for task 1",
        ),
        (
            lambda h: h.updates.update({("agent.a", 1): update(5)}),
            "counts other bytes than agent.a offered for task 1",
        ),
        (
            lambda h: h.version(1, weights=h.put(weights(11.7501))),
            "round 1 .* is not the mean of its updates: tensor 'bias' differs by 0.0001",
        ),
        (
            lambda h: h.version(2, weights=h.put(weights(float("nan")))),
            "is not the mean of its updates",
        ),
    ],
)
def test_contradicting_records_are_found(
    held: Held, spoil: Callable[[Held], object], finding: str
) -> None:
    """With a sentence that says where."""
    spoil(held)
    with pytest.raises(RecordsError, match=finding):
        check_records(held, held.updates)
