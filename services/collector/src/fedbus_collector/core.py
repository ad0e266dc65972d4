"""Decisions of the collector: events of the node to the rounds that they belong to. Pure.

The collector has no durable state. After a restart the controller opens its rounds again, and
agents offer the updates that they still have; the repository's insert decides, once, which updates
count.
"""

from collections.abc import Iterator
from dataclasses import replace

from fedbus.core.actions import Action, Ask, Cancel, Send
from fedbus.core.events import (
    Connected,
    Event,
    Fetched,
    FetchFailed,
    Ran,
    Received,
    RunFailed,
    Woke,
)
from fedbus.core.interface import Core
from fedbus.errors import FedbusError
from fedbus.wire.documents import NodeIdentity
from fedbus.wire.messages import (
    CommitRefused,
    Committed,
    Decline,
    Dismiss,
    Dismissed,
    JobStopped,
    LookedUp,
    NoiseRecorded,
    NoiseRefused,
    Offer,
    OpenRound,
    Receipt,
    RoundEnded,
    RoundEndNoted,
    RoundOpened,
    StaleEpoch,
    StepReply,
    StopJob,
)
from fedbus_collector import keys
from fedbus_collector.keys import RoundKey
from fedbus_collector.rounds.ended import EndedRounds
from fedbus_collector.rounds.progress import RoundProgress
from fedbus_collector.rounds.round_collector import RoundCollector
from fedbus_collector.rounds.round_components import RoundResources


class CollectorCore(Core):
    """Open rounds, at most one for each job, and ended rounds."""

    def __init__(self, incarnation: int, repository: str, resources: RoundResources) -> None:
        self._incarnation = incarnation
        self._repository = repository
        self._resources = resources
        self._noise_key = resources.noise_key
        self._epoch = 0
        self._open: dict[str, RoundCollector] = {}
        self._closing: dict[tuple[str, int], RoundCollector] = {}  # ended, with a busy worker
        self._ended = EndedRounds()

    def progress(self) -> float:
        """Return the share of the agents of all open rounds that are counted or refused, 0 to 1.

        Rounds of private jobs are left out: the share tells how many agents were drawn.
        """
        rounds = [one.progress for one in self._open.values() if not one.progress.hides_agents]
        asked = sum(len(r.plan.cohort) for r in rounds)
        settled = sum(len(r.counted) + len(r.refused) for r in rounds)
        return settled / asked if asked else 0.0

    def handle(self, event: Event, now: float) -> Iterator[Action]:
        """Yield the actions that follow from an event."""
        match event:
            case Received(sender, OpenRound() | Dismiss() | StopJob() as command):
                if command.epoch < self._epoch:
                    yield Send(sender, StaleEpoch(epoch=self._epoch))
                else:
                    self._epoch = command.epoch
                    yield from self._on_command(sender, command, now)
            case Received(sender, Offer() | Decline() as answer):
                yield from self._on_answer(sender, answer, now)
            case Received(sender, StepReply() | NodeIdentity() as message):
                yield from self._on_masked(sender, message, now)
            case Received(_, message):
                yield from self._on_reply(message, now)
            case Connected():
                yield from self._noise_key.connected(now)
                yield from self._resources.encryption_key.connected()
            case Woke(keys.NoiseKeyPoll() as key):
                yield self._noise_key.read(key)
            case Ran(keys.NoiseKeyPoll(), key):
                yield from self._noise_key.found(key)
                yield from self._noise_key.poll_later(now)
            case RunFailed(keys.NoiseKeyPoll(), error):
                yield from self._noise_key.missed(error)
                yield from self._noise_key.poll_later(now)
            case (
                Woke(RoundKey() as key)
                | Fetched(RoundKey() as key)
                | FetchFailed(RoundKey() as key)
                | Ran(RoundKey() as key)
                | RunFailed(RoundKey() as key)
            ):
                if open_round := self._find(key.job, key.task):
                    yield from self._advance(open_round, open_round.handle(event, now))
                elif isinstance(event, Ran | RunFailed):
                    self._run_of_ended_round_ended(key)
                yield from self._follow_noise_key(event)

    def _follow_noise_key(self, event: Event) -> Iterator[Action]:
        """Announce what a round has read; after the round, which compares it with the last one."""
        match event:
            case Ran(keys.NoiseKeyRead(), key):
                yield from self._noise_key.found(key)
            case RunFailed(keys.NoiseKeyRead(), error):
                yield from self._noise_key.missed(error)

    def _on_command(
        self, sender: str, command: OpenRound | Dismiss | StopJob, now: float
    ) -> Iterator[Action]:
        match command:
            case OpenRound(plan=plan):
                yield from self._open_round(sender, command, now)
                opened = RoundOpened(job=plan.job, task=plan.task, incarnation=self._incarnation)
                yield Send(sender, opened)
            case Dismiss(job=job, task=task, agents=agents, reason=reason):
                open_round = self._find(job, task)
                if open_round is not None:
                    yield from self._advance(open_round, open_round.refuse(agents, reason, now))
                # Not yet open, the round can dismiss no agent: the controller must ask again.
                if open_round is not None or self._ended.get(job, task) is not None:
                    yield Send(sender, Dismissed(job=job, task=task, agents=agents))
            case _:
                yield from self._abandon(command.job, "the job has ended")
                yield Send(sender, JobStopped(job=command.job))

    def _open_round(self, sender: str, request: OpenRound, now: float) -> Iterator[Action]:
        plan = request.plan
        if ended := self._ended.end_of(plan):
            yield self._report(sender, ended)
            return
        current = self._open.get(plan.job)
        if current is not None and current.progress.plan.task >= plan.task:
            current.controller = sender  # a repeated request, perhaps of a new controller
            return
        if self._ended.has_later(plan):
            return
        # The controller that plans the next round knows how the last one ended.
        yield from self._abandon(plan.job, "the round was planned again")
        open_round = RoundCollector(RoundProgress(request, now), sender, self._resources)
        self._open[plan.job] = open_round
        yield from self._advance(open_round, open_round.begin(now))

    def _on_answer(self, agent: str, answer: Offer | Decline, now: float) -> Iterator[Action]:
        job, task = answer.job, answer.task
        open_round = self._find(job, task)
        if isinstance(answer, Decline):
            if open_round is not None:
                steps = open_round.refuse((agent,), answer.reason, now)
                yield from self._advance(open_round, steps)
            yield Send(agent, Receipt(job=job, task=task, verdict="drop", reason="noted"))
        elif open_round is not None:
            yield from self._advance(open_round, open_round.offered(agent, answer, now))
        else:
            yield self._ended.answer_late_offer(agent, answer, self._repository)

    def _on_masked(
        self, agent: str, message: StepReply | NodeIdentity, now: float
    ) -> Iterator[Action]:
        """Take an answer of a masked round, or an identity, which several rounds may wait for."""
        if isinstance(message, StepReply):
            if open_round := self._find(message.job, message.task):
                steps = open_round.step_answered(agent, message, now)
                yield from self._advance(open_round, steps)
            return
        self._resources.identities.announce(agent, message.key)
        for open_round in list(self._open.values()):
            steps = open_round.identity_announced(agent, now)
            yield from self._advance(open_round, steps)

    def _on_reply(self, message: object, now: float) -> Iterator[Action]:
        match message:
            case LookedUp(job=job, agent=agent, task=task, verdict=verdict):
                yield Cancel(keys.UpdateLookup(job, task, agent))
                yield Send(agent, Receipt(job=job, task=task, verdict=verdict))
            case Committed(version=version, record=record):
                open_round = self._open.get(record.job)
                if open_round is not None and open_round.progress.plan.round == record.round:
                    steps = open_round.committed(version, record, now)
                    yield from self._advance(open_round, steps)
            case NoiseRecorded(job=job, task=task):
                if open_round := self._find(job, task):
                    steps = open_round.noise_recorded(message, now)
                    yield from self._advance(open_round, steps)
            case NoiseRefused(job=job, task=task):
                if open_round := self._find(job, task):
                    yield from self._advance(open_round, open_round.noise_refused(message))
            case CommitRefused(job=job, task=task, reason=reason):
                if open_round := self._find(job, task):
                    yield from self._advance(open_round, open_round.commit_refused(reason))
            case RoundEndNoted(job=job, task=task):
                report = keys.RoundEndReport(job, task)
                self._ended.remove_report(report)
                yield Cancel(report)

    def _advance(self, open_round: RoundCollector, steps: Iterator[Action]) -> Iterator[Action]:
        """Yield a round's actions; if they end the round, report that to its controller."""
        try:
            yield from steps
        except FedbusError as error:
            yield from open_round.fail(str(error))
        components, ended = open_round.components, open_round.ending.report
        if ended is not None and self._open.get(ended.job) is open_round:
            del self._open[ended.job]
            if components.busy:
                self._closing[open_round.progress.key] = open_round
            weights = components.aggregate.inline_weights
            first = replace(ended, inline=weights) if weights else None
            yield self._report(open_round.controller, ended, first)
            for report in self._ended.add(ended, undecided=open_round.ending.undecided):
                yield Cancel(report)

    def _report(self, controller: str, ended: RoundEnded, first: RoundEnded | None = None) -> Ask:
        """Report a round's end to a controller, until the controller acknowledges it."""
        report = keys.RoundEndReport(ended.job, ended.task)
        self._ended.add_report(report)
        return Ask(report, controller, ended, first)

    def _run_of_ended_round_ended(self, key: RoundKey) -> None:
        """Free the spools of a round that ended before its worker thread did."""
        ended = self._closing.get((key.job, key.task))
        if ended is not None:
            ended.components.run_ended(key)
            if not ended.components.busy:
                del self._closing[key.job, key.task]
                ended.ending.close()

    def _abandon(self, job: str, reason: str) -> Iterator[Action]:
        """Fail the open round of a job, and report no end of its rounds to a controller."""
        if open_round := self._open.get(job):
            yield from self._advance(open_round, open_round.fail(reason))
        for report in self._ended.take_reports(job):
            yield Cancel(report)

    def _find(self, job: str, task: int) -> RoundCollector | None:
        open_round = self._open.get(job)
        return open_round if open_round and open_round.progress.plan.task == task else None
