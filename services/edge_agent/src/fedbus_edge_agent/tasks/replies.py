"""Offers and declines, repeated until the collector's receipt. Pure.

An update is in the outbox before it is offered, and never changes after. Its collector alone may
fetch it: others know its digest, as the repository does from the round's record. The constructor
reads the outbox in the event loop, before the first event.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from fedbus.blobs.files import FileBlob
from fedbus.core.actions import Action, Ask, Cancel, Note, Run, Serve, Unserve, WakeAt
from fedbus.limits import MAX_TEXT_CHARACTERS
from fedbus.wire.messages import Decline, Offer, TrainTask
from fedbus_edge_agent.keys import (
    OwnStateRemoval,
    TaskReply,
    UpdateRemoval,
    UpdateRemovalRetry,
)
from fedbus_edge_agent.tasks.task_numbers import TaskNumbers
from fedbus_edge_agent.training.errors import describe_error
from fedbus_edge_agent.training.outbox import Outbox, StoredOffer
from fedbus_edge_agent.training.task_runner import TrainingResult

AFTER_ALL_TASKS = 2**31
"""Larger than any task number."""
BRIEF_REMOVAL_BYTES = 128 * 1024
"""Size up to which the removal of an update takes less time than the wake-up of a thread."""
REMOVAL_RETRY_SECONDS = 10.0


@dataclass(slots=True)
class _Reply:
    collector: str
    message: Offer | Decline
    source: FileBlob | None = None
    settled: StoredOffer | None = None  # with it, a state or a residual waits for the receipt


class TaskReplies:
    """The open replies of training tasks, by (job, task number)."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        # Read before any task arrives: a task whose update exists must not be trained again.
        self._open = {
            (stored.offer.job, stored.offer.task): _Reply(
                stored.collector,
                stored.offer,
                source,
                stored if stored.kept or outbox.has_pending(stored.offer) else None,
            )
            for stored, source in outbox.load()
        }
        self._settling: dict[UpdateRemoval, Run] = {}  # adopt or discard a state
        self._stopped: set[str] = set()  # jobs whose state is removed after that
        self._unsent = [*self._open]
        self._settled = TaskNumbers()

    def begin(self) -> Iterator[Action]:
        """Offer the updates that an earlier process left; later calls do nothing."""
        unsent, self._unsent = self._unsent, []
        for key in unsent:
            if reply := self._open.get(key):
                yield from self._send(reply)

    def is_settled(self, job: str, task: int) -> bool:
        """Return whether a task needs nothing more, because it or a later one has a receipt."""
        return task <= self._settled[job]

    def is_open(self, job: str, task: int) -> bool:
        """Return whether a task has a reply without a receipt."""
        return (job, task) in self._open

    def repeat(self, job: str, task: int) -> Iterator[Action]:
        """Send a reply again at once: its collector may have been restarted."""
        reply = self._open[job, task]
        yield Ask(TaskReply(job, task), reply.collector, reply.message)

    def offer(self, result: TrainingResult) -> Iterator[Action]:
        """Offer an update; the first message includes its bytes if they are few."""
        offer = result.stored.offer
        inline = None if result.inline is None else replace(offer, inline=result.inline)
        settled = result.stored if result.keeps_state else None
        reply = _Reply(result.stored.collector, offer, result.source, settled)
        yield from self._send(reply, inline)

    def decline(self, message: TrainTask, reason: str) -> Iterator[Action]:
        """Decline a task."""
        yield Note("task_failed", {"job": message.job, "task": message.task, "reason": reason})
        yield from self._send(_Reply(message.collector, decline_of(message, reason)))

    def redirect(self, message: TrainTask) -> Iterator[Action]:
        """Offer updates of older tasks to a newer task's collector, and settle older declines.

        The collector of an older task may no longer exist.
        """
        for (job, task), reply in list(self._open.items()):
            if job != message.job or task >= message.task:
                continue
            if isinstance(reply.message, Decline):
                yield from self.settle(job, task)
            elif reply.collector != message.collector:
                reply.collector = message.collector
                yield from self._serve(reply.message.update.digest)
                yield from self.repeat(job, task)

    def awaits_receipt(self, message: TrainTask) -> bool:
        """Return whether a task must wait for the receipt of an earlier one of its job.

        Only then is it known which state its objective begins with. Two tasks of the same round
        begin with the same one, and one of them counts at most.
        """
        return any(key.job == message.job for key in self._settling) or any(
            reply.settled is not None
            and job == message.job
            and task != message.task
            and reply.message.round != message.round
            for (job, task), reply in self._open.items()
        )

    def settle(self, job: str, task: int, *, counted: bool = False) -> Iterator[Action]:
        """End a reply and remove its update: its receipt has arrived, and says if it counted."""
        self._settled.record(job, task)
        yield Cancel(TaskReply(job, task))
        reply = self._open.pop((job, task), None)
        if reply is not None and isinstance(reply.message, Offer):
            yield from self._serve(reply.message.update.digest)
            yield self._removal(reply.message, reply.settled, counted=counted)

    def stop(self, job: str) -> Iterator[Action]:
        """Settle all tasks of a job, future ones included."""
        for name, task in list(self._open):
            if name == job:
                yield from self.settle(job, task)
        self._settled.record(job, AFTER_ALL_TASKS)
        self._stopped.add(job)
        yield from self.remove_own_state(job)

    def remove_own_state(self, job: str) -> Iterator[Action]:
        """Remove a stopped job's state, unless an adoption is under way that writes one again."""
        if job in self._stopped and all(key.job != job for key in self._settling):
            self._stopped.remove(job)
            remove = partial(self._outbox.forget_job, job)
            yield Run(OwnStateRemoval(job), remove, brief=True)

    def discard(self, result: TrainingResult) -> Run:
        """Return the action that removes an update which was not offered from the outbox."""
        settled = result.stored if result.keeps_state else None
        return self._removal(result.stored.offer, settled, counted=False)

    def removed(self, key: UpdateRemoval) -> bool:
        """Note that an update is removed; return whether its task's state was settled by that."""
        return self._settling.pop(key, None) is not None

    def removal_failed(self, key: UpdateRemoval, error: Exception, now: float) -> Iterator[Action]:
        """Try again later if a state waits for it; the tasks of its job wait, too."""
        if key in self._settling:
            facts = {"job": key.job, "task": key.task, "reason": describe_error(error)}
            yield Note("own_state_unsettled", facts)
            yield WakeAt(UpdateRemovalRetry(key.job, key.task), now + REMOVAL_RETRY_SECONDS)

    def retry_removal(self, key: UpdateRemovalRetry) -> Iterator[Action]:
        """Remove an update again."""
        if run := self._settling.get(UpdateRemoval(key.job, key.task)):
            yield run

    def _removal(self, offer: Offer, settled: StoredOffer | None, *, counted: bool) -> Run:
        """Return the action that removes an update; `settled` is None if its task left no state."""
        key = UpdateRemoval(offer.job, offer.task)
        if settled is not None:
            self._settling[key] = Run(key, partial(self._outbox.settle, settled, counted=counted))
            return self._settling[key]
        call = partial(self._outbox.remove, offer.job, offer.task)
        return Run(key, call, brief=offer.update.size <= BRIEF_REMOVAL_BYTES)

    def _send(self, reply: _Reply, first: Offer | None = None) -> Iterator[Action]:
        job, task = reply.message.job, reply.message.task
        self._open[job, task] = reply
        if isinstance(reply.message, Offer):
            yield from self._serve(reply.message.update.digest)
        yield Ask(TaskReply(job, task), reply.collector, reply.message, first)

    def _serve(self, digest: str) -> Iterator[Action]:
        """Serve an update to the collectors to which it is offered, if there are any.

        Equal updates of several tasks have one digest.
        """
        offered = [
            (reply.source, reply.collector)
            for reply in self._open.values()
            if reply.source is not None
            and isinstance(reply.message, Offer)
            and reply.message.update.digest == digest
        ]
        if offered:
            yield Serve(digest, offered[-1][0], frozenset(to for _, to in offered))
        else:
            yield Unserve(digest)


def decline_of(message: TrainTask, reason: str) -> Decline:
    """Return the decline of a task, its reason cut to what a message holds."""
    return Decline(
        job=message.job, round=message.round, task=message.task, reason=reason[:MAX_TEXT_CHARACTERS]
    )
