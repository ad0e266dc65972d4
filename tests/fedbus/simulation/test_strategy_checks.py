"""The oracle computes each strategy again: every finding is provoked once, with numbers by hand."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from math import nan, sqrt
from typing import Any

import numpy as np
import pytest

from fedbus.core.blob_io import BlobSource
from fedbus.jobs import StrategyConfig
from fedbus.jobs.plugin_options import ChoiceConfig
from fedbus.model.blob import encode
from fedbus.model.layout import Layout, Tensor
from fedbus.model.sections import state_layout, update_layout
from fedbus.simulation.control_variates import OwnVariates, check_control_variates
from fedbus.simulation.offered_deltas import Update
from fedbus.simulation.oracle import check_records
from fedbus.simulation.stored_records import RecordsError
from fedbus.strategies.resolution import resolve
from fedbus.training.params import PluginChoice
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef, blob_ref_of
from fedbus.wire.documents import ModelSpec, TensorSpec
from fedbus.wire.round_records import RoundRecord
from fedbus.wire.strategies import Strategy, StrategyState
from fedbus_repository.stores.records import HistoryEntry, Version
from tests.repository.harness import contributor

MODEL, JOB = "small", "job-1"
LAYOUT = Layout(
    (
        Tensor("seen", (1,), "int64", "statistic"),
        Tensor("spread", (1,), "float32", "statistic"),
        Tensor("switch", (1,), "bool"),
        Tensor("w", (2,), "float32"),
    )
)


@dataclass
class Content:
    """A stored blob."""

    data: bytes

    @property
    def size(self) -> int:
        """Its size."""
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        """Read a part."""
        return self.data[offset : offset + length]


@dataclass
class Records:
    """Records of one job with one strategy, whose trained numbers of a tensor are all equal.

    Agents `agent.0`, `agent.1` … have 1, 2, 3 … examples.
    """

    strategy: Strategy
    entries: list[HistoryEntry] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    updates: dict[tuple[str, int], Update] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Store the first version."""
        tensors = tuple(
            TensorSpec(name=t.name, shape=t.shape, dtype=t.dtype, role=t.role)
            for t in LAYOUT.tensors
        )
        spec = ModelSpec(model=MODEL, layout=tensors, architectures={"own": {"name": "any"}})
        self.spec = self.put(codec.to_json(spec))
        self.add_version(None, 0.0)

    def history(self) -> Iterable[HistoryEntry]:
        """Read the records."""
        return self.entries

    def open_blob(self, digest: str) -> BlobSource | None:
        """Find a blob."""
        return Content(self.blobs[digest]) if digest in self.blobs else None

    def put(self, content: bytes) -> BlobRef:
        """Store a blob."""
        self.blobs[blob_ref_of(content).digest] = content
        return blob_ref_of(content)

    def add_version(
        self,
        record: RoundRecord | None,
        value: float,
        seen: int = 0,
        spread: float = 0.0,
        switch: bool = False,
    ) -> None:
        """Add a version with these values."""
        arrays = {
            "seen": np.full(1, seen),
            "spread": np.full(1, spread, np.float32),
            "switch": np.full(1, switch),
            "w": np.full(2, value, np.float32),
        }
        number = len(self.entries)
        version = Version(
            model=MODEL,
            version=number + 1,
            parent=number or None,
            weights=self.put(bytes(encode(arrays, LAYOUT))),
            spec=self.spec,
        )
        if record is not None:
            version = replace(version, job=JOB, round=number)
        self.entries.append(HistoryEntry(version=version, record=record))

    def add_round(
        self,
        moves: list[float],
        coefficients: list[float | None],
        value: float,
        *,
        state: dict[str, float] | None = None,
        rounds: int | None = None,
        sections: list[float] | None = None,
        base: float = 1.0,
        untrained: tuple[int, float, bool] = (0, 0.0, False),
        untrained_moves: list[tuple[int, float, int]] | None = None,
    ) -> None:
        """Add a round whose agents moved `w` by `moves`, and that made it `value`."""
        number = len(self.entries)
        counted = []
        for at, (move, coefficient) in enumerate(zip(moves, coefficients, strict=True)):
            agent = f"agent.{at}"
            seen, spread, switch = (untrained_moves or [(0, 0.0, 0)] * len(moves))[at]
            update = {
                "seen": np.full(1, seen),
                "spread": np.full(1, spread, np.float32),
                "switch": np.full(1, switch, np.int8),
                "w": np.full(2, move, np.float32),
            }
            for name in self.strategy.sections:
                assert sections is not None
                update[f"section:{name}"] = np.full(2, sections[at], np.float32)
            layout = update_layout(LAYOUT, self.strategy.sections)
            blob = bytes(encode(update, layout, "delta"))
            self.updates[agent, number] = blob
            made = contributor(agent, number, blob, examples=at + 1)
            counted.append(replace(made, coefficient=coefficient))
        record = RoundRecord(
            job=JOB,
            round=number,
            task=number,
            model=MODEL,
            parent=number,
            spec=self.spec,
            strategy=self.strategy,
            contributors=tuple(counted),
            refusals=(),
            metrics={},
            seconds={},
            base_coefficient=base,
        )
        if state is not None:
            arrays = {name: np.full(2, number, np.float32) for name, number in state.items()}
            blob = bytes(encode(arrays, state_layout(LAYOUT, tuple(state))))
            kept = StrategyState(rounds=rounds or number, arrays=self.put(blob))
            record = replace(record, state=kept)
        self.add_version(record, value, *untrained)

    def check(self) -> int:
        """Return the number of rounds that were computed again."""
        return check_records(self, self.updates).summed


def strategy(name: str, **more: object) -> Strategy:
    """Resolve a strategy as a controller does."""
    return resolve(StrategyConfig.model_validate({"id": name, **more}))


def test_a_mean_states_the_share_of_each_update() -> None:
    """By examples, or equal ones."""
    records = Records(strategy("fedavg"))
    records.add_round([1, 4], [1 / 3, 2 / 3], 3)
    assert records.check() == 1
    records.add_round([1, 4], [0.5, 0.5], 5.5)
    with pytest.raises(RecordsError, match=r"coefficients are \[0.5, 0.5\], where a mean has"):
        records.check()


@pytest.mark.parametrize(
    ("coefficients", "finding"),
    [
        ([0.5, None], "some updates have a coefficient, and some have none"),
        ([None, None], "aggregator 'mean' has no coefficients"),
        ([0.5, nan], "a coefficient is not finite"),
    ],
)
def test_coefficients_that_are_none_are_found(
    coefficients: list[float | None], finding: str
) -> None:
    """Of some updates, or of all where the rule has some."""
    records = Records(strategy("fedavg"))
    records.add_round([1, 4], coefficients, 3)
    with pytest.raises(RecordsError, match=finding):
        records.check()


def test_a_rule_that_leaves_the_base_has_its_coefficient_1() -> None:
    """Another rule may scale the base, which is then part of the update."""
    records = Records(strategy("fedavg"))
    records.add_round([1, 4], [1 / 3, 2 / 3], 3, base=0.5)
    with pytest.raises(RecordsError, match=r"leaves the base as it is, whose coefficient is 0.5"):
        records.check()
    scaling = Records(strategy("fedavgopt"))
    scaling.add_round([1, 4], [1.0, 0.5], 3, base=0.5)
    scaling.add_round([1, 4], [1.0, 0.5], 4.5, base=0.5)
    assert scaling.check() == 2


def test_krum_keeps_the_updates_closest_to_their_neighbours() -> None:
    """The scores of three updates near 1 are lower than that of 9; two updates are kept."""
    moves = [1.0, 1.1, 1.3, 9.0]
    records = Records(strategy("multi-krum"))
    records.add_round(moves, [0.5, 0.5, 0, 0], 1.05)
    assert records.check() == 1
    for coefficients, finding in (
        ([0.5, 0, 0, 0.5], "agent.3 is used with the score .*, and not agent.1 with"),
        ([1.0, 0, 0, 0], r"where 2 updates have 0.5"),
        ([0.4, 0.6, 0, 0], r"where 2 updates have 0.5"),
    ):
        other = Records(strategy("multi-krum"))
        other.add_round(moves, list(coefficients), 1.05)
        with pytest.raises(RecordsError, match=finding):
            other.check()
    single = Records(strategy("krum"))
    single.add_round(moves, [0, 1.0, 0, 0], 1.1)
    assert single.check() == 1


UNTRAINED = [(2, 0.5, 1), (4, 1.0, 0), (9, 5.0, 1)]
"""Moves of the statistics and of the switch, of agents with 1, 2 and 3 examples."""


@pytest.mark.parametrize(
    ("name", "coefficients", "value", "untrained"),
    [
        ("fedmedian", [None] * 3, 2, (4, 1.0, True)),
        ("fedtrimmedavg", [None] * 3, 4, (5, 6.5 / 3, True)),
        ("bulyan", [1 / 3] * 3, 4, (5, 6.5 / 3, True)),
        # Weights of trained tensors only: others are means by examples, here 37 / 6 and 17.5 / 6.
        ("geometric-median", [0.5, 0.25, 0.25], 3.25, (6, 17.5 / 6, True)),
    ],
)
def test_rules_have_their_own_way_with_tensors_that_are_not_trained(
    name: str, coefficients: list[float | None], value: float, untrained: tuple[int, float, bool]
) -> None:
    """ADR 26: numbers are combined as the trained ones are, or are means; truth by majority."""
    seen, spread, switch = untrained

    def made(value: float, *untrained: Any) -> Records:  # noqa: ANN401 - of three types
        records = Records(strategy(name))
        records.add_round(
            [1, 2, 9], coefficients, value, untrained=untrained, untrained_moves=UNTRAINED
        )
        return records

    assert made(value, seen, spread, switch).check() == 1
    for wrong, tensor in (
        (made(value + 1e-4, seen, spread, switch), "'w'"),
        (made(value, seen + 1, spread, switch), "'seen'"),
        (made(value, seen, spread + 1e-4, switch), "'spread'"),
        (made(value, seen, spread, not switch), "'switch'"),
    ):
        with pytest.raises(RecordsError, match=f"tensor {tensor} differs by"):
            wrong.check()


def test_an_update_that_is_not_used_is_in_no_mean() -> None:
    """Nor are its statistics: by examples, agents 0 and 1 have 1/3 and 2/3."""
    records = Records(strategy("multi-krum"))
    moves = [*UNTRAINED[:2], (100, 100.0, 1), (100, 100.0, 1)]
    records.add_round(
        [1.0, 1.1, 1.3, 9.0],
        [0.5, 0.5, 0, 0],
        1.05,
        untrained=(3, 2.5 / 3, False),
        untrained_moves=moves,
    )
    assert records.check() == 1


def momentum(**changes: float) -> Records:
    """Return two rounds of FedAvgM: v is 1, then 0.9 + 2; w is 1, then 3.9."""
    given = {"first": 1.0, "second": 2.9, "value": 3.9, "rounds": 2, **changes}
    records = Records(strategy("fedavgm", parameters={"server_momentum": 0.9}))
    records.add_round([1], [1.0], 1, state={"momentum": given["first"]})
    records.add_round(
        [2],
        [1.0],
        given["value"],
        state={"momentum": given["second"]},
        rounds=int(given["rounds"]),
    )
    return records


def test_a_server_optimizer_continues_the_state_of_the_parent() -> None:
    """Both the version and the new state are computed again."""
    assert momentum().check() == 2


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"value": 3.9001}, "round 2 .* is not its server optimizer's step: tensor 'w' differs"),
        ({"second": 2.0}, "round 2 .* the state array 'momentum' is another one: .* tensor 'w'"),
        ({"first": 1.1}, "round 1 .* the state array 'momentum' is another one"),
        ({"rounds": 3}, "round 2 .* left the state of round 3, expected 2"),
        ({"rounds": 1}, "round 2 .* left the state of round 1, expected 2"),
    ],
)
def test_a_state_that_does_not_follow_from_its_parent_is_found(
    changes: dict[str, float], finding: str
) -> None:
    """Lost, used twice, or computed otherwise."""
    with pytest.raises(RecordsError, match=finding):
        momentum(**changes).check()


def test_the_first_round_of_fedadam_is_that_of_the_paper() -> None:
    """The second moment begins with tau squared; the first one is 0.1 times a mean of 1."""
    second = 0.99 * 1e-6 + 0.01
    value = 0.1 * 0.1 / (sqrt(second) + 1e-3)
    records = Records(strategy("fedadam", parameters={"server_learning_rate": 0.1}))
    records.add_round([1], [1.0], value, state={"first_moment": 0.1, "second_moment": second})
    assert records.check() == 1


def test_a_round_without_its_state_is_found() -> None:
    """No version may be stored without what the next round needs."""
    records = Records(strategy("fedavgm"))
    records.add_round([1], [1.0], 1)
    with pytest.raises(RecordsError, match="round 1 of job 'job-1' has no state"):
        check_records(records)


def test_what_a_third_party_computed_is_not_summed() -> None:
    """A server optimizer, an aggregator or a transform of someone else."""
    first = strategy("fedavg")
    own = PluginChoice(id="own")
    for strange in (
        replace(first, server_optimizer=own),
        replace(first, update_transforms=(own,)),
    ):
        records = Records(strange)
        records.add_round([1, 4], [1 / 3, 2 / 3], 77)
        assert records.check() == 0
    records = Records(replace(first, aggregator=own))
    records.add_round([1, 4], [None, None], 77)
    assert records.check() == 0
    linear = Records(replace(first, aggregator=own))
    linear.add_round([1, 4], [2.0, 1.0], 6)
    assert linear.check() == 1


def scaffold(control: float = 0.2) -> Records:
    """Return two rounds of SCAFFOLD with two of four agents: c is 0.75, then 0.2."""
    records = Records(strategy("scaffold", population=4))
    halves: list[float | None] = [0.5, 0.5]
    records.add_round([1, 3], halves, 2, state={"control": 0.75}, sections=[1, 2])
    records.add_round([1, 3], halves, 4, state={"control": control}, sections=[-1.5, -0.7])
    return records


def own_variates() -> OwnVariates:
    """Return what its agents have kept."""

    def array(value: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return np.full(2, value, np.float32)

    return OwnVariates(
        begun={("agent.0", 1): None, ("agent.1", 1): None}
        | {("agent.0", 2): array(1), ("agent.1", 2): array(2)},
        made={("agent.0", 1): array(1), ("agent.1", 1): array(2)}
        | {("agent.0", 2): array(-0.5), ("agent.1", 2): array(1.3)},
        adopted={"agent.0": [1, 2], "agent.1": [1]},
    )


def check_variates(records: Records, own: OwnVariates) -> int:
    """Check them."""
    blobs = {key: bytes(update) for key, update in records.updates.items()}
    return check_control_variates(records, JOB, blobs, own)


def test_the_variates_of_server_and_agents_add_up() -> None:
    """The last receipt of agent.1 came after the end of the job."""
    assert scaffold().check() == 2
    assert check_variates(scaffold(), own_variates()) == 4


def _change(own: OwnVariates, **changes: object) -> OwnVariates:
    parts = {name: {**getattr(own, name), **new} for name, new in changes.items()}  # type: ignore[dict-item]
    return replace(own, **parts)


@pytest.mark.parametrize(
    ("spoil", "finding"),
    [
        (
            lambda own: _change(own, begun={("agent.0", 2): None}),
            r"agent.0 began with a variate that is not the sum of its changes in tasks \[1\]",
        ),
        (
            lambda own: _change(own, made={("agent.1", 2): np.full(2, 2, np.float32)}),
            r"agent.1 made a variate that is not the sum of its changes in tasks \[1, 2\]",
        ),
        (
            lambda own: _change(own, adopted={"agent.0": [1, 1, 2]}),
            r"agent.0 adopted the variates of tasks \[1, 1, 2\] .* of tasks \[1, 2\] count",
        ),
        (
            lambda own: _change(own, adopted={"agent.1": []}),
            r"agent.1 adopted the variates of tasks \[\]",
        ),
        (
            lambda own: _change(own, adopted={"agent.9": [1]}),
            "agent.9 adopted a variate, and none of its updates counts",
        ),
    ],
)
def test_a_variate_that_does_not_follow_from_what_counts_is_found(
    spoil: Callable[[OwnVariates], OwnVariates], finding: str
) -> None:
    """Lost, adopted twice, or adopted though its update does not count."""
    with pytest.raises(RecordsError, match=finding):
        check_variates(scaffold(), spoil(own_variates()))


def test_a_server_variate_that_is_not_the_mean_is_found() -> None:
    """By both checks."""
    with pytest.raises(RecordsError, match="is not the mean of those of 4 agents"):
        check_variates(scaffold(0.3), own_variates())
    with pytest.raises(RecordsError, match="the state array 'control' is another one"):
        scaffold(0.3).check()


def test_an_unweighted_mean_is_that_of_its_parameters() -> None:
    """A job may replace the aggregator alone."""
    unweighted = ChoiceConfig(id="mean", parameters={"weighted": False})
    records = Records(resolve(StrategyConfig(aggregator=unweighted)))
    records.add_round([1, 4], [0.5, 0.5], 2.5)
    assert records.check() == 1
