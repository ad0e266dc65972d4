"""A round in a worker's hands: agents bring updates, and the collector combines them."""

from typing import Any

from numpy.typing import NDArray

from fedbus.blobs.spool import Spool, Spools
from fedbus.model.blob import blank, decode, encode, encode_delta, writable_arrays
from fedbus.model.blob_header import blob_size
from fedbus.model.layout import Layout, Role, Weights
from fedbus.model.sections import state_layout
from fedbus.plugins import UpdateFacts
from fedbus.plugins.collector_part_calls import AggregatorCalls
from fedbus.plugins.part_caller import PartCaller
from fedbus.strategies.aggregation.mean import Mean
from fedbus.wire.blobs import blob_ref_of
from fedbus_collector.aggregation.aggregate import Aggregate, Aggregation
from fedbus_collector.aggregation.kept_updates import KeptUpdates
from fedbus_collector.aggregation.running_total import RunningTotal, total_bytes
from fedbus_collector.aggregation.server_step import ServerStep
from fedbus_collector.aggregation.state_blocks import StrategyArrays
from fedbus_collector.aggregation.tensor_runs import UpdateRuns
from fedbus_collector.aggregation.verification import ArrivedUpdate, UpdateChecks

Numbers = dict[str, NDArray[Any]]


class AggregatedRound:
    """A round of one model.

    Attributes:
        made: What the worker returned; None before `close`.
        state: The new state arrays by name.
    """

    def __init__(
        self,
        base: Weights,
        roles: dict[str, Role] | None = None,
        *,
        aggregator: object = None,
        sections: tuple[str, ...] = (),
        step: ServerStep | None = None,
        state_names: tuple[str, ...] = (),
        spools: Spools | None = None,
        third_party: bool = False,
    ) -> None:
        self.layout = Layout.of(base, roles)
        self.base = bytes(encode(base, self.layout))
        self.spools = spools or Spools(1 << 30)
        self.runs = UpdateRuns.of(self.layout, sections)
        self.step = step or ServerStep()
        self.made: Aggregate | None = None
        self.state: Numbers = {}
        self._state_names = state_names
        self._agents: list[str] = []
        calls = AggregatorCalls(aggregator or Mean(), PartCaller("aggregator", "x", third_party))
        private = self.step.private
        mechanism = None if private is None else private.mechanism
        checks = UpdateChecks(self.runs, calls, mechanism, self.step.numbers)
        self.updates: RunningTotal | KeptUpdates
        if calls.streams and not (mechanism and mechanism.needs_distance):
            total = self.spools.make(total_bytes(self.runs), zeros=True)
            self.updates = RunningTotal(checks, total)
        else:
            self.updates = KeptUpdates(checks)

    def spool(self, data: bytes) -> Spool:
        """Put bytes into a spool."""
        spool = self.spools.make(len(data))
        spool.write(0, data)
        return spool

    def give(self, new: Weights, examples: int = 1, **sections: NDArray[Any]) -> dict[str, str]:
        """Bring the weights that an agent has trained, and the sections of its update."""
        delta = decode(encode_delta(new, self.base, self.layout), self.layout)
        return self.give_update(delta, examples, **sections)

    def give_update(
        self, delta: Weights, examples: int = 1, **sections: NDArray[Any]
    ) -> dict[str, str]:
        """Bring differences by tensor, and sections by name."""
        update = blank(self.runs.updates, "delta")
        named = {f"section:{name}": array for name, array in sections.items()}
        for name, view in writable_arrays(update, self.runs.updates).items():
            view[...] = {**delta, **named}[name]
        return self.offer(bytes(update), examples)

    def offer(self, update: bytes, examples: int = 1, **facts: Any) -> dict[str, str]:  # noqa: ANN401 - of UpdateFacts
        """Bring the bytes of an update; return the reasons of refused agents."""
        agent = f"agent.{len(self._agents)}"
        about = UpdateFacts(agent=agent, examples=examples, **facts)
        arrived = ArrivedUpdate(about, blob_ref_of(update).digest, self.spool(update))
        refused = self.updates.take([arrived])
        if not refused:
            self._agents.append(agent)
        return refused

    def close(self, state: Weights | bytes | None = None, frozen: Spool | None = None) -> Numbers:
        """Return the new version; `state` are the old arrays or their blob, by default zeros.

        The bits of what the next round leaves out are written into `frozen`.
        """
        out, arrays = self.spools.make(len(self.base)), None
        if self._state_names:
            layout = state_layout(self.layout, self._state_names)
            old = state if isinstance(state, bytes | None) else bytes(encode(state, layout))
            spool = None if old is None else self.spool(old)
            arrays = StrategyArrays(layout, spool, self.spools.make(blob_size(layout, "plain")))
        self.made = Aggregation(
            runs=self.runs,
            updates=self.updates,
            agents=tuple(self._agents),
            step=self.step,
            base=self.spool(self.base),
            out=out,
            state=arrays,
            frozen=frozen,
        ).run()
        if arrays is not None:
            new = bytes(arrays.new.read(0, arrays.new.size))
            assert blob_ref_of(new).digest == self.made.state
            self.state = decode(new, arrays.layout, "plain")
        written = bytes(out.read(0, out.size))
        assert blob_ref_of(written).digest == self.made.weights
        return decode(written, self.layout, "plain")
