"""What an agent has said about its tasks, and says again until it is told to forget it. Pure.

An update is on disk before it is offered and never changes after; whether it counts is for others
to say. The constructor reads the outbox, in the event loop and before the first event.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from fedbus.blobs.files import FileBlob
from fedbus.core.actions import Action, Ask, Cancel, Note, Run, Serve, Unserve
from fedbus.limits import MAX_TEXT_CHARACTERS
from fedbus.wire.messages import Decline, Offer, TrainTask
from fedbus_edge_agent.keys import TaskReply, UpdateRemoval
from fedbus_edge_agent.tasks.task_numbers import TaskNumbers
from fedbus_edge_agent.training.local_trainer import TrainingResult
from fedbus_edge_agent.training.outbox import Outbox

NEVER = 2**31
"""No task has this number."""
BRIEF_REMOVAL_BYTES = 128 * 1024
"""To remove an update up to this size takes less time than to wake a thread for it."""


@dataclass(slots=True)
class _Said:
    to: str
    message: Offer | Decline
    source: FileBlob | None = None


class TaskReplies:
    """Offers and declines, by (job, task)."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        # Read before any order comes: a task that was answered must not be trained again.
        self._said = {
            (kept.offer.job, kept.offer.task): _Said(kept.collector, kept.offer, source)
            for kept, source in outbox.load()
        }
        self._unsaid = [*self._said]
        self._settled = TaskNumbers()  # the highest task that needs nothing more

    def begin(self) -> Iterator[Action]:
        """Offer what an earlier life has kept; once."""
        unsaid, self._unsaid = self._unsaid, []
        for key in unsaid:
            if said := self._said.get(key):
                yield from self._say(said)

    def settled(self, job: str, task: int) -> bool:
        """Tell whether nothing more is to be done for a task."""
        return task <= self._settled[job]

    def given(self, job: str, task: int) -> bool:
        """Tell whether a task was answered, and nobody has said yet what became of it."""
        return (job, task) in self._said

    def again(self, job: str, task: int) -> Iterator[Action]:
        """Give an answer once more, at once: its collector may have forgotten it."""
        said = self._said[job, task]
        yield Ask(TaskReply(job, task), said.to, said.message)

    def offer(self, trained: TrainingResult) -> Iterator[Action]:
        """Offer an update; the first time with its bytes, if they are few."""
        offer = trained.kept.offer
        inline = None if trained.inline is None else replace(offer, inline=trained.inline)
        yield from self._say(_Said(trained.kept.collector, offer, trained.source), inline)

    def decline(self, order: TrainTask, reason: str) -> Iterator[Action]:
        """Say that there will be no update, and why."""
        yield Note("task_failed", {"job": order.job, "task": order.task, "reason": reason})
        yield from self._say(_Said(order.collector, declined(order, reason)))

    def pass_on(self, order: TrainTask) -> Iterator[Action]:
        """Ask the collector of a newer task what became of older updates; theirs may be gone."""
        for (job, task), said in list(self._said.items()):
            if job != order.job or task >= order.task:
                continue
            if isinstance(said.message, Decline):
                yield from self.settle(job, task)
            elif said.to != order.collector:
                said.to = order.collector
                yield from self.again(job, task)

    def settle(self, job: str, task: int) -> Iterator[Action]:
        """Forget an answer: its collector has said what became of it."""
        self._settled.note(job, task)
        yield Cancel(TaskReply(job, task))
        said = self._said.pop((job, task), None)
        if said is not None and isinstance(said.message, Offer):
            yield Unserve(said.message.update.digest)
            yield self.discard(said.message)

    def stop(self, job: str) -> Iterator[Action]:
        """Forget a job's answers, and do nothing for it any more."""
        for name, task in list(self._said):
            if name == job:
                yield from self.settle(job, task)
        self._settled.note(job, NEVER)

    def discard(self, offer: Offer) -> Run:
        """Remove an update from the disk."""
        call = partial(self._outbox.remove, offer.job, offer.task)
        brief = offer.update.size <= BRIEF_REMOVAL_BYTES
        return Run(UpdateRemoval(offer.job, offer.task), call, brief)

    def _say(self, said: _Said, first: Offer | None = None) -> Iterator[Action]:
        job, task = said.message.job, said.message.task
        self._said[job, task] = said
        if said.source is not None and isinstance(said.message, Offer):
            yield Serve(said.message.update.digest, said.source)
        yield Ask(TaskReply(job, task), said.to, said.message, first)


def declined(order: TrainTask, reason: str) -> Decline:
    """Write a decline."""
    return Decline(
        job=order.job, round=order.round, task=order.task, reason=reason[:MAX_TEXT_CHARACTERS]
    )
