"""Updates of one round: received into spools, verified, and added up or kept. Pure.

At most one worker thread works on them at a time; it takes all updates that have arrived. Spools
are created, and updates that came inside an offer are written, in the event loop.
"""

from collections.abc import Iterator
from functools import partial

from fedbus.blobs.spool import Spool, Spools
from fedbus.core.actions import Action, Cancel, Fetch, Note, Run
from fedbus.errors import PluginError
from fedbus.model.encodings import SizeBounds
from fedbus.model.frozen_bits import FrozenBits
from fedbus.wire.blobs import BlobLocation
from fedbus.wire.messages import Offer
from fedbus_collector import keys
from fedbus_collector.aggregation.compressed_update import UpdateDecoder
from fedbus_collector.aggregation.encrypted_total import EncryptedTotal
from fedbus_collector.aggregation.intake import UpdateIntake, update_bounds
from fedbus_collector.aggregation.kept_updates import KeptUpdates
from fedbus_collector.aggregation.masked_total import MaskedTotal, masked_total_bytes
from fedbus_collector.aggregation.running_total import RunningTotal, total_bytes
from fedbus_collector.aggregation.tensor_runs import UpdateRuns
from fedbus_collector.aggregation.verification import ArrivedUpdate, UpdateChecks
from fedbus_collector.collector_parts import StrategyParts
from fedbus_collector.encryption_key import CollectorKey
from fedbus_collector.rounds.encrypted_plan import planned_update
from fedbus_collector.rounds.masked_round_driver import MaskedRoundDriver
from fedbus_collector.rounds.offer_rules import refusal_reason
from fedbus_collector.rounds.progress import RoundProgress

BRIEF_RUN_BYTES = 128 * 1024
"""A fold or an aggregate up to this size ends sooner than a worker thread starts."""


class RoundUpdates:
    """Receives, verifies and refuses the updates of one round.

    Attributes:
        runs: The layouts of the model and its updates; None before `start`.
        verified: What takes the updates; None before `start`.
        folding: Whether a worker thread reads spools of updates and writes the running total.
        brief: Whether small updates may be worked on between two events: no third-party part, which
            may hang, is called.
    """

    def __init__(
        self,
        progress: RoundProgress,
        spools: Spools,
        key: CollectorKey,
        masking: MaskedRoundDriver | None = None,
    ) -> None:
        self.runs: UpdateRuns | None = None
        self.verified: UpdateIntake | EncryptedTotal | None = None
        self.folding = False
        self.brief = False
        self._progress = progress
        self._spools = spools
        self._key = key
        self._masking = masking
        self._received: dict[str, Spool] = {}
        self._decoder: UpdateDecoder | None = None
        self._bounds = SizeBounds(0, 0)
        self._deltas: dict[str, Spool] = {}  # of compressed updates
        self._queue: list[ArrivedUpdate] = []
        self._quorum_noted = False

    def start(
        self, runs: UpdateRuns, parts: StrategyParts, frozen: FrozenBits | None = None
    ) -> Iterator[Action]:
        """Create the running total if there is one, then receive what was offered before.

        Raises:
            PluginError: As `UpdateDecoder.of`.
        """
        strategy = self._progress.request.strategy
        self.runs, self.brief = runs, not parts.third_party and strategy.fixed_point is None
        self._decoder = UpdateDecoder.of(strategy, runs.layout, frozen)
        self._bounds = update_bounds(strategy, runs, self._decoder)
        self.verified = self._intake(runs, parts)
        for agent in list(self._progress.offers):
            yield from self.release(agent)

    def _intake(self, runs: UpdateRuns, parts: StrategyParts) -> UpdateIntake | EncryptedTotal:
        numbers = self._progress.state_numbers
        checks = UpdateChecks(runs, parts.aggregator, parts.mechanism, numbers, self._decoder)
        strategy, plan = self._progress.request.strategy, self._progress.plan
        if (terms := strategy.encryption) is not None:
            planned = planned_update(plan, terms, runs.layout)
            return EncryptedTotal(checks, planned, self._key.add, self._spools.place)
        if strategy.masking is not None and self._masking is not None:
            if parts.keeps_updates:
                part = parts.aggregator.caller.part
                raise PluginError(f"{part}: masked updates have a mean only")
            fixed_point = strategy.masking.fixed_point
            spool = self._spools.make(masked_total_bytes(fixed_point, runs.layout), zeros=True)
            return MaskedTotal(checks, plan, fixed_point, spool, self._masking.masks)
        if parts.keeps_updates:
            return KeptUpdates(checks)
        return RunningTotal(checks, self._spools.make(total_bytes(runs), zeros=True))

    def offered(self, agent: str, offer: Offer) -> Iterator[Action]:
        """Receive an offered update, or refuse it with a reason."""
        if reason := refusal_reason(self._progress, agent, offer):
            yield from self._refuse_offer(agent, reason)
        else:
            # Only the first offer may contain the update.
            self._progress.offers.setdefault(agent, offer)
            yield from self.release(agent)

    def release(self, agent: str) -> Iterator[Action]:
        """Receive what an agent has offered, once the round can take it.

        A masked update is taken after its agent has agreed to this collector's set of agents: one
        that was masked for an earlier process of the collector may have other masks.
        """
        ready = self.runs is not None and (self._masking is None or agent in self._masking.agreed)
        waits = agent in self._progress.offers and not self._progress.has_update(agent)
        if ready and waits:
            yield from self._receive(agent, self._progress.offers.pop(agent))

    def _receive(self, agent: str, offer: Offer) -> Iterator[Action]:
        """Take the update out of the offer, or fetch it from the agent."""
        expected = self._bounds
        if not expected.least <= offer.update.size <= expected.most:
            reason = f"expected an update of {expected.text} bytes, got {offer.update.size}"
            yield from self._refuse_offer(agent, reason)
            return
        sink = self._received[agent] = self._spools.make(offer.update.size)
        self._progress.offers[agent] = offer
        self._progress.fetching.add(agent)
        if offer.inline is not None and len(offer.inline) == offer.update.size:
            sink.write(0, offer.inline)
            yield from self.arrived(agent)
        else:
            location = BlobLocation(blob_ref=offer.update, source=agent)
            yield Fetch(keys.UpdateFetch(*self._progress.key, agent), location, sink)

    def arrived(self, agent: str) -> Iterator[Action]:
        """Queue an update that has arrived, and fold it once no worker is busy."""
        offer = self._progress.offers[agent]
        self._progress.fetching.discard(agent)
        self._progress.arrived.add(agent)
        facts = self._progress.facts_of(agent)
        delta = None
        if self._decoder is not None:
            delta = self._deltas[agent] = self._spools.make(self._decoder.delta_bytes)
        self._queue.append(ArrivedUpdate(facts, offer.update.digest, self._received[agent], delta))
        yield from self._fold_queue()

    def fetch_failed(self, agent: str) -> None:
        """Free the spool of an update that did not arrive; the agent will offer it again."""
        self._progress.fetching.discard(agent)
        self._progress.offers.pop(agent, None)
        self._received.pop(agent).close()

    def _fold_queue(self) -> Iterator[Action]:
        if self._queue and not self.folding and self.verified is not None:
            self.folding = True
            queue, self._queue = self._queue, []
            agents = tuple(update.agent for update in queue)
            brief = (
                self.brief
                and sum((one.delta or one.spool).size for one in queue) <= BRIEF_RUN_BYTES
            )
            key = keys.FoldRun(*self._progress.key, agents)
            yield Run(key, partial(self.verified.take, queue), brief)

    def folded(
        self, agents: tuple[str, ...], refused: dict[str, str], now: float
    ) -> Iterator[Action]:
        """Count the updates that were verified and refuse the others, with the reasons given."""
        progress, self.folding = self._progress, False
        for agent in agents:
            kept = agent not in refused and self.verified is not None and self.verified.keeps_spools
            if not kept or agent in self._deltas:
                self._received.pop(agent).close()
            if not kept and (delta := self._deltas.pop(agent, None)):
                delta.close()
            if agent in refused:
                progress.arrived.discard(agent)
                yield from self._refuse_offer(agent, refused[agent])
            else:
                progress.count(agent)
        progress.seconds["last_update"] = now - progress.opened
        if len(progress.counted) >= progress.plan.quorum and not self._quorum_noted:
            self._quorum_noted = True
            yield Note("quorum_reached", progress.log_facts(at=now))
        yield from self._fold_queue()

    def refuse(self, agent: str, reason: str) -> Iterator[Action]:
        """Exclude an agent from the round, unless its update has arrived."""
        fetching = agent in self._progress.fetching
        if self._progress.refuse(agent, reason):
            yield Note("update_refused", self._progress.log_facts(agent=agent, reason=reason))
            if fetching:
                yield Cancel(keys.UpdateFetch(*self._progress.key, agent))
                self._received.pop(agent).close()

    def _refuse_offer(self, agent: str, reason: str) -> Iterator[Action]:
        yield from self.refuse(agent, reason)
        yield self._progress.refusal_receipt(agent, reason)

    def cancel_fetches(self) -> Iterator[Action]:
        """Cancel the transfers of updates that have not arrived."""
        for agent in sorted(self._progress.fetching):
            yield Cancel(keys.UpdateFetch(*self._progress.key, agent))
            self.fetch_failed(agent)

    def close(self) -> None:
        """Free all spools; not while `folding`."""
        for spools in (self._received, self._deltas):
            for spool in spools.values():
                spool.close()
            spools.clear()
        if self.verified is not None:
            self.verified.close()
