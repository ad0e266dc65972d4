"""Total of masked updates: what is added, what is refused, and the mean of it, block by block."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from fedbus.blobs.spool import Spool, Spools
from fedbus.digest import digest_of
from fedbus.errors import LayoutError, MaskingError
from fedbus.model.fixed_point import Wholes, from_fixed_point, to_fixed_point
from fedbus.model.layout import Layout
from fedbus.plugins import UpdateFacts
from fedbus.secure_aggregation.mask_streams import BLOCK_NUMBERS, Mask
from fedbus.secure_aggregation.masked_blob import masked_blob, masked_header
from fedbus.secure_aggregation.masked_task import MaskedTask
from fedbus.wire.encryption import FixedPoint
from fedbus_collector.aggregation.masked_total import MaskedTotal, masked_total_bytes
from fedbus_collector.aggregation.tensor_runs import UpdateRuns, blocks_of
from fedbus_collector.aggregation.verification import ArrivedUpdate, UpdateChecks
from fedbus_collector.collector_parts import PartsFactory
from tests.collector.harness import JOB, mean, plan

SEEDS = (b"a" * 32, b"b" * 32)
TASK = MaskedTask(job=JOB, round=1, task=1)
AGENTS = ("agent.a", "agent.b")
EXAMPLES = {"agent.a": 4, "agent.b": 10}
SHAPES = {"a": (3,), "m": (7, 5), "large": (BLOCK_NUMBERS + 100,)}
LAYOUT = Layout.of({name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()})
RANGES = (-2, 0, 3)
BITS = 16


class Sum:
    """A total, and updates with one mask each."""

    def __init__(self, *, agents: int = 2, memory: int = 1 << 24, layout: Layout = LAYOUT) -> None:
        self.fixed_point = FixedPoint(bits=BITS, max_agents=agents, max_examples=10)
        self.plan = plan(ranges=RANGES, max_examples=10)
        self.layout = layout
        self.spools = Spools(memory)
        self.numbers: dict[str, Wholes] = {}
        checks = UpdateChecks(UpdateRuns.of(layout), PartsFactory().make(mean()).aggregator)
        total = self.spools.make(masked_total_bytes(self.fixed_point, layout), zeros=True)
        self.total = MaskedTotal(checks, self.plan, self.fixed_point, total, self.masks)
        self.removed = list(SEEDS)

    def masks(self) -> list[Mask]:
        """Return what removes the masks."""
        return [Mask(seed, -1) for seed in self.removed]

    def update(self, agent: str, *, shift: int = 0) -> ArrivedUpdate:
        """Return the masked update of an agent, `shift` bytes shorter than it must be."""
        rng = np.random.default_rng(AGENTS.index(agent))
        arrays = {
            t.name: rng.normal(0, 0.1, t.shape).astype(np.float32) for t in self.layout.tensors
        }
        weight = EXAMPLES[agent]
        made = to_fixed_point(arrays, self.layout, RANGES, BITS, weight / 10, rng)
        self.numbers[agent] = made
        header = masked_header(
            layout=self.layout,
            task=TASK,
            fixed_point=self.fixed_point,
            ranges=RANGES,
            max_examples=10,
            weight=weight,
        )
        blob = masked_blob(made, header, [Mask(SEEDS[AGENTS.index(agent)], 1)])
        return self.arrived(agent, bytes(blob)[: len(blob) - shift])

    def arrived(self, agent: str, blob: bytes) -> ArrivedUpdate:
        """Return an update with these bytes."""
        spool = self.spools.make(len(blob))
        spool.write(0, blob)
        facts = UpdateFacts(agent=agent, examples=EXAMPLES[agent])
        return ArrivedUpdate(facts, digest_of(blob), spool)

    def take(self, *updates: ArrivedUpdate) -> dict[str, str]:
        """Take updates."""
        return self.total.take(updates)

    def mean(self, agents: Sequence[str] = AGENTS, most: int = 1000) -> NDArray[np.float64]:
        """Return the mean, block by block."""
        combined = self.total.combine(agents, Spool(0, None, None, self.spools))
        filled = []
        for run in UpdateRuns.of(self.layout).in_updates:
            for block in blocks_of(run, most):
                out = np.empty(block.numbers)
                combined.fill(out, run, block)
                filled.append(out)
        return np.concatenate(filled)


@pytest.mark.parametrize(("agents", "memory"), [(2, 1 << 24), (2, 0), (10_000, 1 << 24)])
@pytest.mark.parametrize("most", [37, 1 << 20])
def test_the_mean_is_that_of_the_plain_sum(agents: int, memory: int, most: int) -> None:
    """In memory and in files, modulo 2^17 and 2^30, in blocks of any size."""
    sums = Sum(agents=agents, memory=memory)
    assert sums.take(*(sums.update(agent) for agent in AGENTS)) == {}
    assert [facts.examples for facts in sums.total.facts(AGENTS)] == [4, 10]
    total = sums.numbers["agent.a"] + sums.numbers["agent.b"]
    expected = from_fixed_point(total, LAYOUT, RANGES, BITS, 2, 1.4)
    flat = np.concatenate([expected[tensor.name].reshape(-1) for tensor in LAYOUT.tensors])
    assert np.allclose(sums.mean(most=most), flat, rtol=1e-12, atol=0)
    sums.total.close()
    assert sums.total.spool.size == 0


def test_an_update_is_added_once_and_whole() -> None:
    """A second one of the same agent, and one that the sum cannot hold, are refused."""
    sums = Sum(agents=2)
    first = sums.update("agent.a")
    assert sums.take(first) == {}
    assert sums.take(first) == {"agent.a": "a second update of this agent"}
    assert sums.take(sums.update("agent.b")) == {}
    third = replace(first, facts=replace(first.facts, agent="agent.c"))
    assert sums.take(third) == {"agent.c": "2 updates are in the sum, which holds no more"}


def test_updates_of_another_form_are_refused_before_anything_is_added() -> None:
    """By digest, size, header, weight and padding; the others count."""
    sums = Sum()
    update = sums.update("agent.b")
    wrong = replace(update, digest="0" * 64)
    assert sums.take(wrong) == {"agent.b": "the update's bytes are not those of its digest"}
    (reason,) = sums.take(sums.update("agent.b", shift=8)).values()
    assert reason.startswith("a masked update of ")
    with update.spool.read(0, update.spool.size) as content:
        blob = bytearray(content)
    blob[-1] |= 0x80
    (reason,) = sums.take(sums.arrived("agent.b", bytes(blob))).values()
    assert "do not end with zeros" in reason
    heavier = replace(update, facts=replace(update.facts, examples=9))
    assert sums.take(heavier) == {"agent.b": "a masked update with weight 10, expected 9"}
    held = sums.total.spool.read(0, sums.total.spool.size)
    assert not np.frombuffer(held, np.uint8).any()


def test_another_weight_than_the_aggregators_is_refused() -> None:
    """The mean would divide by other weights than the agents multiplied by."""
    sums = Sum()
    checks = UpdateChecks(
        UpdateRuns.of(LAYOUT), PartsFactory().make(mean(weighted=False)).aggregator
    )
    spool = sums.spools.make(masked_total_bytes(sums.fixed_point, LAYOUT), zeros=True)
    total = MaskedTotal(checks, sums.plan, sums.fixed_point, spool, sums.masks)
    reason = "masked with another weight than the aggregator gives it"
    assert total.take([sums.update("agent.a")]) == {"agent.a": reason}


def test_a_sum_with_a_mask_left_fails() -> None:
    """Its numbers are larger than those of any updates."""
    sums = Sum()
    sums.take(*(sums.update(agent) for agent in AGENTS))
    sums.removed = [SEEDS[0]]
    with pytest.raises(MaskingError, match="is not one of their numbers"):
        sums.mean()


def test_the_survivors_are_those_that_were_added() -> None:
    """No other set has this sum."""
    sums = Sum()
    sums.take(*(sums.update(agent) for agent in AGENTS))
    with pytest.raises(MaskingError, match="not the agents whose updates were added"):
        sums.mean(("agent.a",))


def test_sections_are_refused() -> None:
    """They are no differences, and have no range."""
    sums = Sum()
    checks = replace(sums.total._checks, runs=UpdateRuns.of(LAYOUT, ("control",)))  # noqa: SLF001 - of the test's total
    with pytest.raises(LayoutError, match="no sections"):
        MaskedTotal(checks, sums.plan, sums.fixed_point, sums.total.spool, sums.masks)
