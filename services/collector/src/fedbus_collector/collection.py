"""One open round: from its order to its aggregate, and to the commit that makes it true. Pure.

Updates are fetched as the node's bounds allow, into spools; one worker at a time verifies and folds all
that are here; when the round may close, the aggregate is written and the repository asked to commit it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from fedbus.actions import Action, Ask, Cancel, Fetch, Note, Run, Send, Serve, Unserve, WakeAt
from fedbus.errors import FedbusError
from fedbus.layout import Layout
from fedbus.plugins import Folds
from fedbus.spool import Spool, Spools
from fedbus.weights import blob_size
from fedbus.wire import codec
from fedbus.wire.messages import Commit, Offer, Receipt, RoundEnded
from fedbus.wire.states import ModelCard
from fedbus.wire.values import Manifest, ModelRef, Reference, RoundRecord
from fedbus_collector.arithmetic import Arrived, Folding, aggregate, fold
from fedbus_collector.round import Phase, Round, Verdict
from fedbus_collector.shelf import Shelf

MAX_CARD = 4 * 2**20
RETRY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Means:
    """What collections are made with."""

    spools: Spools
    shelf: Shelf
    aggregator: Callable[[str], Folds]


class Collection:
    """A round at work. `ended` is what to tell the controller, once it is over."""

    def __init__(self, round_: Round, controller: str, means: Means) -> None:
        self.round = round_
        self.controller = controller
        self.ended: RoundEnded | None = None
        self._means = means
        self._base: Spool | None = None
        self._folding: Folding | None = None
        self._out: Spool | None = None
        self._served = ""
        self._spools: dict[str, Spool] = {}
        self._queue: list[Arrived] = []
        self._busy = False
        self._quorate = False

    @property
    def busy(self) -> bool:
        """A worker reads or writes its spools."""
        return self._busy

    # ── before the first update ────────────────────────────────────────────────────────────────────

    def begin(self, now: float) -> Iterator[Action]:
        """Set the deadline, and get what the first fold and the aggregate need."""
        plan = self.round.plan
        yield Note("round_opened", self._facts(at=now))
        yield WakeAt(("deadline", *self.round.key), now + plan.deadline_seconds)
        yield from self.prepare(now)

    def prepare(self, now: float) -> Iterator[Action]:
        """Fetch the model's card and the base, unless they are on the shelf."""
        base = self.round.plan.base
        if self._means.shelf.layout(base.card.digest) is None:
            if base.card.size > MAX_CARD:
                yield from self.fail(f"a model card of {base.card.size} bytes, at most {MAX_CARD}")
                return
            sink = self._spool("card", base.card.size)
            yield Fetch(("card", *self.round.key), base.reference(base.card), sink)
        if self._base is None:
            self._base = self._means.shelf.take_base(base.weights.digest)
        if self._base is None:
            sink = self._spool("base", base.weights.size)
            members = len(self.round.plan.roster) + 1  # the group the agents join now
            yield Fetch(("base", *self.round.key), base.reference(base.weights), sink, members)
        yield from self._start(now)

    def card_came(self, now: float) -> Iterator[Action]:
        """Read the model's layout from its card."""
        card, spool = self.round.plan.base.card, self._spools.pop("card")
        try:
            if spool.digest() != card.digest:
                raise FedbusError("the model card's bytes are not those of its digest")
            read = codec.from_json(ModelCard, bytes(spool.read(0, card.size)))
            self._means.shelf.keep_layout(card.digest, Layout.read(read.layout))
        except FedbusError as error:
            yield from self.fail(str(error))
        else:
            yield from self._start(now)
        finally:
            spool.close()

    def base_came(self, now: float) -> Iterator[Action]:
        """The round may close now, if that is what it waited for."""
        self._base = self._spools.pop("base")
        yield from self.decide(now)

    def not_prepared(self, what: str, now: float) -> Iterator[Action]:
        """Try again in a moment to fetch what did not come."""
        self._spools.pop(what).close()
        yield WakeAt(("prepare", *self.round.key), now + RETRY_SECONDS)

    def _start(self, now: float) -> Iterator[Action]:
        layout = self._means.shelf.layout(self.round.plan.base.card.digest)
        if layout is None or self.round.phase is not Phase.PREPARING:
            return
        try:
            aggregator = self._means.aggregator(self.round.order.aggregator)
            if not layout.all_float32:
                raise FedbusError("this version aggregates float32 models only")
        except FedbusError as error:
            yield from self.fail(str(error))
            return
        total = self._means.spools.make(layout.numbers * 8)
        self._folding = Folding(layout, aggregator, total)
        self.round.phase = Phase.COLLECTING
        offers, self.round.offers = self.round.offers, {}
        for agent, offer in offers.items():
            yield from self.take(agent, offer)
        yield from self.decide(now)

    # ── updates ────────────────────────────────────────────────────────────────────────────────────

    def offered(self, agent: str, offer: Offer, now: float) -> Iterator[Action]:
        """Take an offer, or say why not; repetitions change nothing."""
        if reason := self.round.objection(agent, offer):
            yield from self.refuse(agent, reason)
            yield self._receipt(agent, "drop", reason)
            yield from self.decide(now)
        elif self.round.phase is Phase.PREPARING:
            self.round.offers[agent] = offer
        elif self.round.phase is Phase.COLLECTING and not self._known(agent):
            yield from self.take(agent, offer)
            yield from self.decide(now)

    def take(self, agent: str, offer: Offer) -> Iterator[Action]:
        """Get an update's bytes: out of the offer, or from the agent."""
        assert self._folding is not None  # noqa: S101 - a collecting round has one
        wanted = blob_size(self._folding.layout, "delta")
        if offer.update.size != wanted:
            reason = f"an update of {offer.update.size} bytes; this model's have {wanted}"
            yield from self.refuse(agent, reason)
            yield self._receipt(agent, "drop", reason)
            return
        self.round.offers[agent] = offer
        sink = self._spool(agent, offer.update.size)
        if offer.inline is not None and len(offer.inline) == offer.update.size:
            sink.write(0, offer.inline)
            yield from self.arrived(agent)
        else:
            self.round.fetching.add(agent)
            reference = Reference(manifest=offer.update, source=agent)
            yield Fetch(("update", *self.round.key, agent), reference, sink)

    def arrived(self, agent: str) -> Iterator[Action]:
        """Queue an update that is here."""
        offer = self.round.offers[agent]
        self.round.fetching.discard(agent)
        self.round.here.add(agent)
        weight = self.round.weight(offer.examples)
        self._queue.append(Arrived(agent, offer.update.digest, weight, self._spools[agent]))
        yield from self._fold()

    def not_arrived(self, agent: str, now: float) -> Iterator[Action]:
        """Free its place: the agent offers again when it is back."""
        self._forget(agent)
        yield from self.decide(now)

    def _fold(self) -> Iterator[Action]:
        if self._queue and not self._busy:
            assert self._folding is not None  # noqa: S101 - an update came, so it collects
            self._busy = True
            queue, self._queue = self._queue, []
            agents = tuple(update.agent for update in queue)
            yield Run(("fold", *self.round.key, agents), partial(fold, self._folding, queue))

    def folded(
        self, agents: tuple[str, ...], refused: dict[str, str], now: float
    ) -> Iterator[Action]:
        """Count what was folded; refuse what was not."""
        self._busy = False
        for agent in agents:
            self._spools.pop(agent).close()
            if agent in refused:
                self.round.here.discard(agent)
                yield from self.refuse(agent, refused[agent])
                yield self._receipt(agent, "drop", refused[agent])
            else:
                self.round.count(agent)
        self.round.seconds["last_update"] = now - self.round.opened
        if len(self.round.counted) >= self.round.plan.quorum and not self._quorate:
            self._quorate = True
            yield Note("quorum_reached", self._facts(at=now))
        yield from self._fold()
        yield from self.decide(now)

    def refuse(self, agent: str, reason: str) -> Iterator[Action]:
        """Let an agent of the roster not count."""
        fetching = agent in self.round.fetching
        if self.round.refuse(agent, reason):
            yield Note("update_refused", self._facts(agent=agent, reason=reason))
            if fetching:
                yield Cancel(("update", *self.round.key, agent))
                self._spools.pop(agent).close()

    # ── the end ────────────────────────────────────────────────────────────────────────────────────

    def deadline(self, now: float) -> Iterator[Action]:
        """Wait no longer for what is not here."""
        self.round.late = True
        for agent in sorted(self.round.fetching):
            yield Cancel(("update", *self.round.key, agent))
            self._forget(agent)
        yield from self.decide(now)

    def decide(self, now: float) -> Iterator[Action]:
        """Close or fail the round, if it is time."""
        match self.round.verdict():
            case Verdict.FAIL:
                have, need = len(self.round.counted), self.round.plan.quorum
                yield from self.fail(
                    f"{have} of {len(self.round.plan.roster)} updates, {need} are needed"
                )
            case Verdict.CLOSE if self._base is not None and self._folding is not None:
                self.round.phase = Phase.AGGREGATING
                self.round.seconds["collected"] = now - self.round.opened
                self._busy = True
                self._out = self._means.spools.make(blob_size(self._folding.layout, "plain"))
                weights = self.round.weights
                call = partial(aggregate, self._folding, self._base, weights, self._out)
                yield Run(("aggregate", *self.round.key), call)

    def aggregated(self, digest: str, now: float) -> Iterator[Action]:
        """Ask the repository to make the round true."""
        assert self._out is not None  # noqa: S101 - it was aggregated into
        self._busy = False
        self.round.phase = Phase.COMMITTING
        self.round.seconds["aggregated"] = now - self.round.opened
        yield Note("round_aggregated", self._facts(at=now))
        self._served = digest
        yield Serve(digest, self._out)
        manifest = Manifest(digest=digest, size=self._out.size)
        commit = Commit(record=self.round.record(), weights=manifest)
        yield Ask(("commit", *self.round.key), self.round.plan.base.source, commit)

    def committed(self, version: ModelRef, record: RoundRecord, now: float) -> Iterator[Action]:
        """The round is true as this record, whoever's it is: tell each agent what became of its update."""
        task = self.round.plan.task
        counted = {
            contributor.agent for contributor in record.contributors if contributor.task == task
        }
        for agent in self.round.waiting:
            yield self._receipt(
                agent, "stored" if agent in counted else "drop", "the round is committed"
            )
        if self._out is not None and self._served == version.weights.digest:
            yield Unserve(self._served)
            self._means.shelf.put_base(self._served, self._out)
            self._out = None
        yield Note("round_committed", self._facts(version=version.version, at=now))
        yield from self._end(version, "", record)

    def fail(self, reason: str) -> Iterator[Action]:
        """End the round without a version."""
        for agent in self.round.waiting:
            yield self._receipt(agent, "drop", f"the round failed: {reason}")
        yield Note("round_failed", self._facts(reason=reason))
        yield from self._end(None, reason, None)

    def failed_work(self, reason: str) -> Iterator[Action]:
        """End the round: the total may hold a part of an update."""
        self._busy = False
        yield from self.fail(reason)

    def _end(
        self, version: ModelRef | None, reason: str, record: RoundRecord | None
    ) -> Iterator[Action]:
        plan = self.round.plan
        self.round.phase = Phase.ENDED
        self.ended = RoundEnded(
            job=plan.job,
            round=plan.round,
            task=plan.task,
            version=version,
            reason=reason,
            record=record,
        )
        for what in ("deadline", "prepare", "card", "base", "commit"):
            yield Cancel((what, *self.round.key))
        for agent in sorted(self.round.fetching):
            yield Cancel(("update", *self.round.key, agent))
        if self._served:
            yield Unserve(self._served)
        if not self._busy:
            self.let_go()

    def let_go(self) -> None:
        """Give all room back. Never while a worker reads it: then its end calls this."""
        if self._base is not None and self.ended is not None and self.ended.version is None:
            self._means.shelf.put_base(self.round.plan.base.weights.digest, self._base)
        elif self._base is not None:
            self._base.close()
        self._base = None
        total = self._folding.total if self._folding is not None else None
        for spool in (*self._spools.values(), self._out, total):
            if spool is not None:
                spool.close()
        self._spools.clear()

    def _known(self, agent: str) -> bool:
        round_ = self.round
        return agent in round_.fetching or agent in round_.here or agent in round_.counted

    def _forget(self, agent: str) -> None:
        self.round.fetching.discard(agent)
        self.round.offers.pop(agent, None)
        self._spools.pop(agent).close()

    def _spool(self, name: str, size: int) -> Spool:
        if name in self._spools:
            self._spools[name].close()
        self._spools[name] = self._means.spools.make(size)
        return self._spools[name]

    def _receipt(self, agent: str, verdict: str, reason: str) -> Send:
        job, task = self.round.key
        stored = verdict == "stored"
        receipt = Receipt(
            job=job,
            task=task,
            verdict="stored" if stored else "drop",
            reason="" if stored else reason,
        )
        return Send(agent, receipt)

    def _facts(self, **more: object) -> dict[str, object]:
        plan = self.round.plan
        return {"job": plan.job, "round": plan.round, "task": plan.task, **more}
