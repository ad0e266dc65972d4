"""Masked tasks of an agent: their steps, answered while the task trains. Pure but for journals.

A collector repeats a step until it is answered, so a step that cannot be answered yet is left
alone: before the task is accepted, and while another step is being answered. The identities of
neighbours are followed on the bus when a step needs them, and only until they are known.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final

from fedbus.core.actions import Action, Announce, Cancel, Follow, Note, Run, Send, Unfollow, WakeAt
from fedbus.errors import MaskingError
from fedbus.secure_aggregation.accepted_terms import SAFE_TERMS, AcceptedTerms
from fedbus.secure_aggregation.agent_steps import AgentSteps
from fedbus.secure_aggregation.known_identities import KnownIdentities
from fedbus.secure_aggregation.shamir import RandomBytes
from fedbus.wire import topics
from fedbus.wire.documents import NodeIdentity
from fedbus.wire.messages import Step, StepReply, TrainTask
from fedbus_edge_agent.keys import IdentityWait, JournalRemoval, StepAnswer
from fedbus_edge_agent.masking.masked_work import MaskedWork, masked_task
from fedbus_edge_agent.masking.own_identity import OwnIdentity
from fedbus_edge_agent.masking.step_journal import JournalledTask, StepJournals
from fedbus_edge_agent.masking.unmasked_update import UnmaskedUpdate
from fedbus_edge_agent.training.errors import describe_error
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_edge_agent.training.task_runner import TrainingResult

IDENTITY_SECONDS: Final = 4.0
"""Time after which a step is answered without an identity that was not announced: by a refusal."""
_NO_KEYS: Final = (
    "this agent has no keys for the task: it was restarted without its journal, or the task has "
    "ended for it"
)
_MASKED_BEFORE: Final = (
    "this agent has masked an update of the task, and does not have it any more: a second one with "
    "the same masks would tell the difference of both"
)
TaskName = tuple[str, int]


class MaskedTasks:
    """The masked tasks of an agent that has `cryptography`.

    Args:
        identity: The agent's.
        journals: Of the agent's folder.
        pinned: Identities that the operator has fixed; None: those that agents announce count.
        random_bytes: `os.urandom` outside tests.
        outbox: Where masked updates are stored.
        accepted: The least that this agent accepts.
    """

    def __init__(  # noqa: PLR0913 - four sources, and what the operator demands
        self,
        identity: OwnIdentity,
        journals: StepJournals,
        outbox: Outbox,
        pinned: Mapping[str, str] | None,
        random_bytes: RandomBytes,
        *,
        accepted: AcceptedTerms = SAFE_TERMS,
    ) -> None:
        self._accepted = accepted
        self._identity = identity
        self._journals = journals
        self._outbox = outbox
        self._identities = KnownIdentities(pinned)
        self._random_bytes = random_bytes
        self._works: dict[TaskName, MaskedWork] = {}
        self._waiting: dict[TaskName, Step] = {}
        self._followed: set[str] = set()

    def load(self, has_update: Callable[[str, int], bool]) -> None:
        """Read the journals that an earlier process left; `has_update`: whether one is offered."""
        for task, steps in self._journals.load():
            try:
                work = self._work(task, steps)
            except MaskingError:
                self._journals.remove(task.job, task.task)
                continue
            if has_update(task.job, task.task) and not work.steps.has_masked:
                work.steps.note_masked()  # it was killed before the journal said so
            self._works[task.job, task.task] = work

    def begin(self) -> Iterator[Action]:
        """Announce this agent's identity."""
        identity = NodeIdentity(node=self._identity.name, key=self._identity.public)
        yield Announce(topics.NODE_IDENTITY, identity)

    def fault(self, message: TrainTask) -> str:
        """Return why a masked task cannot be done, or "": it is weaker than accepted, say."""
        if message.masking is not None:
            try:
                self._accepted.check_terms(message.masking)
            except MaskingError as error:
                return str(error)
        work = self._works.get((message.job, message.task))
        return _MASKED_BEFORE if work is not None and work.steps.has_masked else ""

    def accept(self, message: TrainTask) -> None:
        """Answer the steps of a task from now on."""
        name = message.job, message.task
        if message.masking is not None and name not in self._works:
            self._works[name] = self._work(
                JournalledTask(
                    job=message.job,
                    round=message.round,
                    task=message.task,
                    collector=message.collector,
                    terms=message.masking,
                )
            )

    def _work(self, task: JournalledTask, journal: bytes | None = None) -> MaskedWork:
        steps = AgentSteps(
            agent=self._identity.name,
            task=masked_task(task),
            terms=task.terms,
            identity=self._identity.key,
            identity_of=self._identities.of,
            random_bytes=self._random_bytes,
            journal=journal,
            accepted=self._accepted,
        )
        return MaskedWork(task, steps, self._journals)

    def receive(self, collector: str, step: Step, now: float) -> Iterator[Action]:
        """Answer a step, as soon as the identities that it needs are known."""
        name = step.job, step.task
        work = self._works.get(name)
        if work is None:
            if step.step != "keys":  # else its task may still arrive
                yield Send(collector, _refusal(step, _NO_KEYS))
            return
        if work.answering or (collector, step.round) != (work.task.collector, work.task.round):
            return
        missing = self._missing(work, step)
        if not missing:
            yield from self._answer(work, step)
            return
        for agent in missing:  # again if it is followed already: what is retained may be lost
            self._followed.add(agent)
            yield Follow(topics.NODE_IDENTITY, {"node": agent})
        if name not in self._waiting:
            seconds = min(IDENTITY_SECONDS, work.task.terms.step_seconds / 2)
            yield WakeAt(IdentityWait(*name), now + seconds)
        self._waiting[name] = step

    def identity_announced(self, agent: str, identity: NodeIdentity) -> Iterator[Action]:
        """Take an identity, and answer the steps that have waited for it."""
        if agent not in self._followed:
            return
        self._identities.announce(agent, identity.key)
        yield from self._unfollow(agent)
        for name, step in list(self._waiting.items()):
            if not self._missing(self._works[name], step):
                yield from self._answer(self._works[name], step)

    def identities_late(self, key: IdentityWait) -> Iterator[Action]:
        """Answer a step without the identities that were not announced; it is refused by name."""
        if step := self._waiting.get((key.job, key.task)):
            yield from self._answer(self._works[key.job, key.task], step)

    def _missing(self, work: MaskedWork, step: Step) -> list[str]:
        try:
            needed = work.steps.identities_needed(step.step, step.content)
        except MaskingError:
            return []  # the answer says so
        return sorted(agent for agent in needed if not self._identities.knows(agent))

    def _answer(self, work: MaskedWork, step: Step) -> Iterator[Action]:
        name = step.job, step.task
        if self._waiting.pop(name, None):
            yield Cancel(IdentityWait(*name))
        work.answering = True
        yield Run(StepAnswer(*name), partial(work.answer, step))

    def answered(self, key: StepAnswer, reply: StepReply) -> Iterator[Action]:
        """Send the reply to a step; nothing if the task has ended meanwhile."""
        work = self._works.get((key.job, key.task))
        if work is None:
            yield self._removal(key.job, key.task)  # the thread may have written it again
            return
        work.answering = False
        if reply.reason:
            facts = {"job": key.job, "task": key.task, "step": reply.step, "reason": reply.reason}
            yield Note("step_refused", facts)
        yield Send(work.task.collector, reply)

    def answer_failed(self, key: StepAnswer, error: Exception) -> Iterator[Action]:
        """Answer nothing: the collector asks again, and later goes on without this agent."""
        if work := self._works.get((key.job, key.task)):
            work.answering = False
        facts = {"job": key.job, "task": key.task, "reason": describe_error(error)}
        yield Note("step_unanswered", facts)

    def masking_of(
        self, message: TrainTask, update: UnmaskedUpdate
    ) -> Callable[[], TrainingResult] | None:
        """Return the call that masks and stores an update; None before its masks are agreed."""
        work = self._works.get((message.job, message.task))
        if work is None or work.answering or not work.steps.can_mask:
            return None
        return partial(work.mask, message, update, self._outbox)

    def end(self, job: str, task: int) -> Iterator[Action]:
        """Forget a task, and delete its journal."""
        if self._works.pop((job, task), None):
            yield from self._end_waiting((job, task))
            yield self._removal(job, task)

    def end_older(self, job: str, task: int) -> Iterator[Action]:
        """Forget the tasks of a job that a newer one supersedes."""
        for name in [name for name in self._works if name[0] == job and name[1] < task]:
            yield from self.end(*name)

    def stop(self, job: str) -> Iterator[Action]:
        """Forget all tasks of a job."""
        for name in [name for name in self._works if name[0] == job]:
            yield from self.end(*name)

    def _end_waiting(self, name: TaskName) -> Iterator[Action]:
        if self._waiting.pop(name, None):
            yield Cancel(IdentityWait(*name))
        if not self._waiting:
            for agent in sorted(self._followed):
                yield from self._unfollow(agent)

    def _unfollow(self, agent: str) -> Iterator[Action]:
        self._followed.discard(agent)
        yield Unfollow(topics.NODE_IDENTITY, {"node": agent})

    def _removal(self, job: str, task: int) -> Run:
        remove = partial(self._journals.remove, job, task)
        return Run(JournalRemoval(job, task), remove, brief=True)


def _refusal(step: Step, reason: str) -> StepReply:
    return StepReply(job=step.job, round=step.round, task=step.task, step=step.step, reason=reason)
