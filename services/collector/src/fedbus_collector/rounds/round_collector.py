"""One open round: from its order to its aggregate, and to the commit that makes it true. Pure.

Updates are fetched as the node's bounds allow, into spools; one worker at a time verifies and folds
all that are here; when the round may close, the aggregate is written and the repository asked to
commit it. Spools are created, and updates that came inside an offer written, in the event loop; the
work on them runs in a thread. What raises here (no room for a spool, a wrong spec) fails the round.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

from fedbus.blobs.spool import Spool, Spools
from fedbus.core.actions import Action, Ask, Cancel, Fetch, Note, Run, Send, Serve, Unserve, WakeAt
from fedbus.limits import MAX_TEXT_CHARACTERS
from fedbus.model.blob import blob_size
from fedbus.plugins import Aggregator
from fedbus.wire.blobs import BlobLocation, BlobRef, ModelRef
from fedbus.wire.messages import Commit, Offer, Receipt, RoundEnded
from fedbus.wire.round_records import RoundRecord
from fedbus_collector import keys
from fedbus_collector.aggregation.fold import (
    ArrivedUpdate,
    RunningTotal,
    aggregate,
    fold,
    total_size,
)
from fedbus_collector.model_cache import ModelCache
from fedbus_collector.rounds.inputs import RoundInputs
from fedbus_collector.rounds.progress import RoundPhase, RoundProgress, Verdict

BRIEF = 128 * 1024
"""So many bytes are folded in less time than a thread takes to wake."""
SMALL = 16 * 1024
"""A version of so many bytes is told to the controller together with the round's end."""


@dataclass(frozen=True, slots=True)
class RoundResources:
    """What collections are made with."""

    spools: Spools
    cache: ModelCache
    aggregator: Callable[[str], Aggregator]


class RoundCollector:
    """A round at work. `ended` is what to tell the controller, once it is over.

    `small` is its version's weights, if they are few enough to ride along.
    """

    def __init__(self, round_: RoundProgress, controller: str, resources: RoundResources) -> None:
        self.round = round_
        self.controller = controller
        self.ended: RoundEnded | None = None
        self.small: bytes | None = None
        self._resources = resources
        self._inputs = RoundInputs(round_.plan, resources.spools, resources.cache)
        self._running_total: RunningTotal | None = None
        self._out: Spool | None = None
        self._served = ""
        self._updates: dict[str, Spool] = {}
        self._queue: list[ArrivedUpdate] = []
        self._folds = False  # or aggregates
        self._quorate = False

    @property
    def busy(self) -> bool:
        """A worker reads or writes its spools."""
        return self._folds or self._inputs.checking

    # ── before the first update ───────────────────────────────────────────────────────────────────

    def begin(self, now: float) -> Iterator[Action]:
        """Set the deadline, and get what the first fold and the aggregate need."""
        yield Note("round_opened", self._facts(at=now))
        yield WakeAt(keys.RoundDeadline(*self.round.key), now + self.round.plan.deadline_seconds)
        yield from self.prepare(now)

    def prepare(self, now: float) -> Iterator[Action]:
        """Fetch the model's spec and the base, unless they are on the cache."""
        yield from self._inputs.fetch()
        yield from self._start(now)

    def came(self, what: keys.Input, now: float) -> Iterator[Action]:
        """Read a spec, have a base verified."""
        if what == "spec":
            self._inputs.spec_came()
            yield from self._start(now)
        else:
            yield from self._inputs.base_came()

    def base_checked(self, digest: str, now: float) -> Iterator[Action]:
        """The round may close now, if that is what it waited for."""
        self._inputs.base_checked(digest)
        yield from self.decide(now)

    def did_not_come(self, what: keys.Input, reason: str, now: float) -> Iterator[Action]:
        """Try again, until the deadline, to fetch what did not come."""
        yield from self._inputs.not_came(what, now)
        if self.round.late:
            yield from self.fail(f"the model's {what} does not come: {reason}")

    def _start(self, now: float) -> Iterator[Action]:
        layout = self._inputs.layout
        if layout is None or self.round.phase is not RoundPhase.PREPARING:
            return
        aggregator = self._resources.aggregator(self.round.order.aggregator)
        total = self._resources.spools.make(total_size(layout), zeros=True)
        self._running_total = RunningTotal(layout, aggregator, total)
        self.round.phase = RoundPhase.COLLECTING
        offers, self.round.offers = self.round.offers, {}
        for agent, offer in offers.items():
            yield from self._take(self._running_total, agent, offer)
        yield from self.decide(now)

    # ── updates ───────────────────────────────────────────────────────────────────────────────────

    def offered(self, agent: str, offer: Offer, now: float) -> Iterator[Action]:
        """Take an offer, or say why not; repetitions change nothing."""
        if self.round.has(agent):
            return
        if reason := self.round.objection(agent, offer):
            yield from self._refuse_offer(agent, reason)
        elif self._running_total is None:
            self.round.offers.setdefault(agent, offer)  # only the first may hold the bytes
        else:
            yield from self._take(self._running_total, agent, offer)
        yield from self.decide(now)

    def _take(self, running_total: RunningTotal, agent: str, offer: Offer) -> Iterator[Action]:
        """Get an update's bytes: out of the offer, or from the agent."""
        wanted = blob_size(running_total.layout, "delta")
        if offer.update.size != wanted:
            reason = f"an update of {offer.update.size} bytes; this model's have {wanted}"
            yield from self._refuse_offer(agent, reason)
            return
        sink = self._updates[agent] = self._resources.spools.make(offer.update.size)
        self.round.offers[agent] = offer
        self.round.fetching.add(agent)
        if offer.inline is not None and len(offer.inline) == offer.update.size:
            sink.write(0, offer.inline)
            yield from self.arrived(agent)
        else:
            location = BlobLocation(blob_ref=offer.update, source=agent)
            yield Fetch(keys.UpdateFetch(*self.round.key, agent), location, sink)

    def arrived(self, agent: str) -> Iterator[Action]:
        """Queue an update that is here."""
        offer = self.round.offers[agent]
        self.round.fetching.discard(agent)
        self.round.here.add(agent)
        weight = self.round.weight(offer.examples)
        self._queue.append(ArrivedUpdate(agent, offer.update.digest, weight, self._updates[agent]))
        yield from self._fold()

    def did_not_arrive(self, agent: str) -> None:
        """Free its place: the agent offers again when it is back."""
        self.round.fetching.discard(agent)
        self.round.offers.pop(agent, None)
        self._updates.pop(agent).close()

    def _fold(self) -> Iterator[Action]:
        if self._queue and not self._folds and self._running_total is not None:
            self._folds = True
            queue, self._queue = self._queue, []
            agents = tuple(update.agent for update in queue)
            call = partial(fold, self._running_total, queue)
            brief = sum(update.spool.size for update in queue) <= BRIEF
            yield Run(keys.FoldRun(*self.round.key, agents), call, brief)

    def folded(
        self, agents: tuple[str, ...], refused: dict[str, str], now: float
    ) -> Iterator[Action]:
        """Count what was folded; refuse what was not."""
        self._folds = False
        for agent in agents:
            self._updates.pop(agent).close()
            if agent in refused:
                self.round.here.discard(agent)
                yield from self._refuse_offer(agent, refused[agent])
            else:
                self.round.count(agent)
        self.round.seconds["last_update"] = now - self.round.opened
        if len(self.round.counted) >= self.round.plan.quorum and not self._quorate:
            self._quorate = True
            yield Note("quorum_reached", self._facts(at=now))
        yield from self._fold()
        yield from self.decide(now)

    def refuse(self, agents: tuple[str, ...], reason: str, now: float) -> Iterator[Action]:
        """Let agents of the cohort not count, unless they have."""
        for agent in agents:
            yield from self._refuse(agent, reason)
        yield from self.decide(now)

    def _refuse_offer(self, agent: str, reason: str) -> Iterator[Action]:
        yield from self._refuse(agent, reason)
        yield self._receipt(agent, "drop", reason)

    def _refuse(self, agent: str, reason: str) -> Iterator[Action]:
        fetching = agent in self.round.fetching
        if self.round.refuse(agent, reason):
            yield Note("update_refused", self._facts(agent=agent, reason=reason))
            if fetching:
                yield Cancel(keys.UpdateFetch(*self.round.key, agent))
                self._updates.pop(agent).close()

    # ── the end ───────────────────────────────────────────────────────────────────────────────────

    def deadline(self, now: float) -> Iterator[Action]:
        """Wait no longer for what is not here."""
        self.round.late = True
        for agent in sorted(self.round.fetching):
            yield Cancel(keys.UpdateFetch(*self.round.key, agent))
            self.did_not_arrive(agent)
        yield from self.decide(now)

    def decide(self, now: float) -> Iterator[Action]:
        """Close or fail the round, if it is time."""
        base, running_total = self._inputs.base, self._running_total
        match self.round.verdict():
            case Verdict.FAIL:
                yield from self.fail(self.round.shortfall())
            case Verdict.CLOSE if base is not None and running_total is not None:
                self._out = self._resources.spools.make(blob_size(running_total.layout, "plain"))
                self.round.phase = RoundPhase.AGGREGATING
                self.round.seconds["collected"] = now - self.round.opened
                self._folds = True
                call = partial(aggregate, running_total, base, self.round.weights, self._out)
                yield Run(keys.AggregateRun(*self.round.key), call, brief=self._out.size <= BRIEF)
            case _:
                pass

    def aggregated(self, digest: str, now: float) -> Iterator[Action]:
        """Ask the repository to make the round true."""
        assert self._out is not None  # noqa: S101 - it was aggregated into
        self._folds = False
        self.round.phase = RoundPhase.COMMITTING
        self.round.seconds["aggregated"] = now - self.round.opened
        yield Note("round_aggregated", self._facts(at=now))
        self._served = digest
        yield Serve(digest, self._out)
        blob_ref = BlobRef(digest=digest, size=self._out.size)
        commit = Commit(record=self.round.record(), weights=blob_ref)
        yield Ask(keys.CommitRequest(*self.round.key), self.round.plan.base.source, commit)

    def committed(self, version: ModelRef, record: RoundRecord, now: float) -> Iterator[Action]:
        """Tell each agent what became of its update; the round is true as this, whoever's it is."""
        task = self.round.plan.task
        counted = {each.agent for each in record.contributors if each.task == task}
        for agent in self.round.waiting:
            verdict: Literal["stored", "drop"] = "stored" if agent in counted else "drop"
            yield self._receipt(agent, verdict, "the round is committed")
        if self._out is not None and self._served == version.weights.digest:
            if self._out.size <= SMALL:
                with self._out.read(0, self._out.size) as content:
                    self.small = bytes(content)
            self._resources.cache.put_base(self._served, self._out)
            self._out = None
        yield Note("round_committed", self._facts(version=version.version, at=now))
        yield from self._end(version, "", record)

    def fail(self, reason: str) -> Iterator[Action]:
        """End the round without a version."""
        for agent in self.round.waiting:
            yield self._receipt(agent, "drop", f"the round failed: {reason}")
        yield Note("round_failed", self._facts(reason=reason))
        yield from self._end(None, reason[:MAX_TEXT_CHARACTERS], None)

    def work_ended(self, key: keys.RoundKey) -> None:
        """Note that a worker is done, well or not."""
        if isinstance(key, keys.BaseCheck):
            self._inputs.checking = False
        else:
            self._folds = False

    def _end(
        self, version: ModelRef | None, reason: str, record: RoundRecord | None
    ) -> Iterator[Action]:
        plan = self.round.plan
        self.round.phase = RoundPhase.ENDED_PHASES
        self.ended = RoundEnded(
            job=plan.job,
            round=plan.round,
            task=plan.task,
            version=version,
            reason=reason,
            record=record,
        )
        yield Cancel(keys.RoundDeadline(*self.round.key))
        yield Cancel(keys.CommitRequest(*self.round.key))
        yield from self._inputs.cancel()
        for agent in sorted(self.round.fetching):
            yield Cancel(keys.UpdateFetch(*self.round.key, agent))
        if self._served:
            yield Unserve(self._served)
        if not self.busy:
            self.let_go()

    def let_go(self) -> None:
        """Give all room back. Never while a worker reads it: then its end calls this."""
        failed = self.ended is not None and self.ended.version is None
        self._inputs.let_go(wanted=failed)  # by the round that is planned anew
        total = self._running_total.total if self._running_total is not None else None
        for spool in (*self._updates.values(), self._out, total):
            if spool is not None:
                spool.close()
        self._updates.clear()

    def _receipt(self, agent: str, verdict: Literal["stored", "drop"], reason: str) -> Send:
        job, task = self.round.key
        why = "" if verdict == "stored" else reason[:MAX_TEXT_CHARACTERS]
        return Send(agent, Receipt(job=job, task=task, verdict=verdict, reason=why))

    def _facts(self, **more: object) -> dict[str, object]:
        plan = self.round.plan
        return {"job": plan.job, "round": plan.round, "task": plan.task, **more}
