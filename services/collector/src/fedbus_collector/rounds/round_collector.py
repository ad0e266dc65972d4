"""One open round, from the request to open it to the commit of its aggregate. Pure.

Updates are received and folded (`updates.py`). When the round may close, it passes through its
closing stages (`closing_stages.py`), a worker thread writes the aggregate (`round_aggregate.py`),
the repository is asked to commit it, and all are told (`round_end.py`). An error raised here (no
room for a spool, a damaged model spec) fails the round.
"""

from collections.abc import Iterator

from fedbus.core.actions import Action, Ask, Note, WakeAt
from fedbus.core.events import Event, Fetched, FetchFailed, Ran, RunFailed, Woke
from fedbus.wire.blobs import ModelRef
from fedbus.wire.messages import NoiseRecorded, NoiseRefused, Offer, StepReply
from fedbus.wire.round_records import RoundRecord
from fedbus_collector import keys
from fedbus_collector.aggregation.aggregate import Aggregate
from fedbus_collector.aggregation.tensor_runs import UpdateRuns
from fedbus_collector.rounds.masked_round_driver import MaskedRoundDriver
from fedbus_collector.rounds.progress import (
    CLOSING_PHASES,
    CloseDecision,
    RoundPhase,
    RoundProgress,
)
from fedbus_collector.rounds.round_components import RoundComponents, RoundResources
from fedbus_collector.rounds.round_end import RoundEnding, reason_of_failed_work


class RoundCollector:
    """Collects the updates of one round and commits their aggregate.

    Attributes:
        controller: The node that the round's end is reported to.
        components: What receives, combines and protects the updates of this round.
        ending: What ends the round; it has the report of the end.
    """

    def __init__(self, progress: RoundProgress, controller: str, resources: RoundResources) -> None:
        self.progress = progress
        self.controller = controller
        self._key = resources.encryption_key
        self.components = components = RoundComponents(progress, resources)
        self.ending = RoundEnding(progress, components)
        self._masking, self._privacy = components.masking, components.privacy
        self._inputs, self._updates = components.inputs, components.updates
        self._parts, self._aggregate = components.parts, components.aggregate

    def begin(self, now: float) -> Iterator[Action]:
        """Set the deadline, and fetch the inputs of the round."""
        yield Note("round_opened", self.progress.log_facts(at=now))
        deadline = now + self.progress.plan.deadline_seconds
        yield WakeAt(keys.RoundDeadline(*self.progress.key), deadline)
        if (terms := self.progress.request.strategy.encryption) is not None:
            self._key.check(terms, self.progress.plan.base)
        if self._masking is not None:
            yield from self._masking.begin(now)
        yield from self._privacy.read_key()
        yield from self._fetch_inputs(now)

    def _fetch_inputs(self, now: float) -> Iterator[Action]:
        yield from self._inputs.fetch()
        yield from self._start_collecting(now)

    def _start_collecting(self, now: float) -> Iterator[Action]:
        """Receive updates once the layout is known and the strategy's parts are made."""
        layout, preparing = self._inputs.layout, self.progress.phase is RoundPhase.PREPARING
        if layout is None or not self._inputs.verifiable or self._parts.making or not preparing:
            return
        yield from self._parts.make()
        if (parts := self._parts.made) is None:
            return
        runs = UpdateRuns.of(layout, self.progress.request.strategy.sections)
        self._privacy.check_layout(runs)
        self.progress.least_updates = parts.aggregator.needed_updates
        self.progress.phase = RoundPhase.COLLECTING
        yield from self._updates.start(runs, parts, self._inputs.frozen)
        yield from self._close_if_due(now)

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Handle a timer, a fetch or a worker thread of this round."""
        match event:
            case Woke(keys.RoundDeadline()):
                self.progress.deadline_passed = True
                yield from self._updates.cancel_fetches()
                yield from self._close_if_due(now)
            case Woke(keys.StepDeadline()) if self._masking is not None:
                for agents, reason in self._masking.late():
                    if self.ending.report is None:
                        yield from self.refuse(agents, reason, now)
            case Woke(keys.RoundInputRetry()):
                yield from self._fetch_inputs(now)
            case Fetched(keys.LayoutFetch()):
                self._inputs.read_spec()
                yield from self._fetch_inputs(now)
            case Fetched(keys.RoundInputFetch(part=part)):
                yield from self._inputs.check(part)
            case FetchFailed(keys.RoundInputFetch(part=part), reason):
                yield from self._inputs.retry_later(part, now)
                if self.progress.deadline_passed:
                    yield from self.fail(f"the model's {part} did not arrive: {reason}")
            case Fetched(keys.UpdateFetch(agent=agent)):
                yield from self._updates.arrived(agent)
            case FetchFailed(keys.UpdateFetch(agent=agent)):
                self._updates.fetch_failed(agent)
            case Ran() | RunFailed():
                yield from self._run_ended(event, now)

    def _run_ended(self, event: Ran | RunFailed, now: float) -> Iterator[Action]:
        match event:
            case Ran(keys.InputCheck(part=part), digest):
                self._inputs.checked(part, digest)
                yield from self._start_collecting(now)
                yield from self._close_if_due(now)
            case Ran(keys.NoiseKeyRead(), key):
                self._privacy.key_read(key)
                yield from self._close_if_due(now)
            case Ran(keys.PartsRun(), parts):
                self._parts.take(parts)
                yield from self._start_collecting(now)
            case Ran(keys.FoldRun(agents=agents), refused):
                yield from self._updates.folded(agents, refused, now)
                yield from self._close_if_due(now)
            case Ran(keys.AggregateRun(), made):
                yield from self._commit(made, now)
            case RunFailed(keys.RoundRun() as run, error):
                # The worker may have folded a part of an update: the total cannot be used.
                yield Note("round_work_failed", {"work": run.work, "error": str(error)})
                self.components.run_ended(run)
                private = self.progress.hides_agents
                yield from self.fail(reason_of_failed_work(run, error, private=private))

    def offered(self, agent: str, offer: Offer, now: float) -> Iterator[Action]:
        """Receive an offered update, or refuse it; a repeated offer changes nothing."""
        if not self.progress.has_update(agent):
            yield from self._updates.offered(agent, offer)
            yield from self._close_if_due(now)

    def step_answered(self, agent: str, reply: StepReply, now: float) -> Iterator[Action]:
        """Take an agent's answer to a step of a masked round; a repeated one changes nothing."""
        if self._masking is None:
            return
        if (refusal := self._masking.replied(agent, reply)) is None:
            yield from self._masking.ask_for_identity(agent)
            return
        yield from self._masking.settle(agent)
        if refusal:
            yield from self.refuse((agent,), refusal, now)
            return
        if reply.step == "mask":
            yield from self._updates.release(agent)
        yield from self._go_on(now)

    def identity_announced(self, agent: str, now: float) -> Iterator[Action]:
        """Take an agent's identity, and the keys that have waited for it."""
        if self._masking is not None:
            yield from self._masking.identity_announced(agent)
            if (reply := self._masking.waiting_keys(agent)) is not None:
                yield from self.step_answered(agent, reply, now)

    def refuse(self, agents: tuple[str, ...], reason: str, now: float) -> Iterator[Action]:
        """Exclude agents of the cohort whose updates have not arrived, and ask them nothing more.

        An update that counts stays in the sum, whether or not its agent takes part in later steps.
        """
        for agent in agents:
            yield from self._updates.refuse(agent, reason)
            if self._masking is not None:
                yield from self._masking.leave(agent)
        yield from self._go_on(now)

    def _go_on(self, now: float) -> Iterator[Action]:
        if self.progress.phase in CLOSING_PHASES:
            yield from self._proceed(now)
        else:
            yield from self._close_if_due(now)

    def _close_if_due(self, now: float) -> Iterator[Action]:
        match self.progress.close_decision():
            case CloseDecision.WAIT if self._masking is not None:
                yield from self._go_on_with_steps(self._masking, now)
            case CloseDecision.FAIL:
                yield from self.fail(self.progress.shortfall())
            case CloseDecision.CLOSE if self._inputs.complete and self._privacy.ready:
                if self._parts.made is not None:  # else a round that asks no agent closes later
                    yield from self._close(now)

    def _go_on_with_steps(self, masking: MaskedRoundDriver, now: float) -> Iterator[Action]:
        """Go on with the steps before the updates, while the round collects."""
        if self.progress.phase not in {RoundPhase.PREPARING, RoundPhase.COLLECTING}:
            return
        yield from masking.proceed(now)
        if lonely := masking.not_asked():
            yield from self.refuse(tuple(lonely), "too few of its neighbours are left", now)

    def _close(self, now: float) -> Iterator[Action]:
        """Aggregate the updates that count, after the closing stages.

        There is room for the aggregate before a ledger entry is paid for.
        """
        self.progress.seconds["collected"] = now - self.progress.opened
        self._aggregate.reserve(self._inputs, self._updates)
        yield from self._proceed(now)

    def _proceed(self, now: float) -> Iterator[Action]:
        """Go on with the closing stages, and after the last one with the aggregate."""
        yield from self.components.closing.proceed(now)
        if self.components.closing.done and self._parts.made is not None:
            self.progress.phase = RoundPhase.AGGREGATING
            parts = self._parts.made
            yield self._aggregate.start(parts, self._inputs, self._updates, self._privacy)

    def noise_recorded(self, answer: NoiseRecorded, now: float) -> Iterator[Action]:
        """Go on, now that the ledger has the entry; a repeated answer changes nothing."""
        if self._privacy.awaits(answer):
            yield from self._privacy.recorded(answer, now)
            yield from self._proceed(now)

    def noise_refused(self, answer: NoiseRefused) -> Iterator[Action]:
        """Fail the round: no noise may be drawn for it."""
        if self._privacy.awaits(answer):
            yield from self.fail(f"the ledger takes no entry for this round: {answer.reason}")

    def _commit(self, made: Aggregate, now: float) -> Iterator[Action]:
        """Serve the aggregate, and ask the repository to commit it."""
        self._aggregate.running = False
        progress = self.progress
        progress.phase = RoundPhase.COMMITTING
        progress.seconds["aggregated"] = now - progress.opened
        yield Note("round_aggregated", progress.log_facts(at=now))
        commit = self._aggregate.commit(made, self._privacy.spent)
        yield from self._aggregate.serve()
        yield Ask(keys.CommitRequest(*progress.key), progress.plan.base.source, commit)

    def committed(self, version: ModelRef, record: RoundRecord, now: float) -> Iterator[Action]:
        """End the round with a version, and send each agent its receipt.

        The version may be another collector's: the repository commits a round once.
        """
        yield from self.ending.committed(version, record, now)

    def commit_refused(self, reason: str) -> Iterator[Action]:
        """End the round without a version, as the repository has decided."""
        yield from self.ending.failed(f"the repository refused the commit: {reason}", decided=True)

    def fail(self, reason: str) -> Iterator[Action]:
        """End the round without a version.

        While the repository decides on the commit, agents get no receipts: their updates may count.
        Nor do agents that keep arrays of their own (`RoundProgress.agents_keep_arrays`).
        """
        committing = self.progress.phase is RoundPhase.COMMITTING
        decided = not committing and not self.progress.agents_keep_arrays
        yield from self.ending.failed(reason, decided=decided)
