"""People who submitted or cancelled a job, until the repository has answered. Pure.

Nobody is told what is not stored: a controller that is killed meanwhile leaves them without an
answer, and they ask again.
"""

from collections.abc import Callable, Iterable, Iterator

from fedbus.actions import Action, Ask, Note, ReplyTo
from fedbus.wire.jobfile import Fault, JobFileError, differences
from fedbus.wire.messages import ForgetJob, JobFault, JobForgotten, JobStored, StoreJob
from fedbus.wire.values import Moment
from fedbus_controller.made_ids import MadeIds
from fedbus_controller.submission import (
    PluginCheck,
    accepted,
    canceled,
    forgotten,
    read_job,
    refused,
    too_late,
)


class People:
    """Who waits for which job's acceptance or end; `utc` is the clock by which ids are made."""

    def __init__(
        self, repository: str, check_plugins: PluginCheck, utc: Callable[[], Moment]
    ) -> None:
        self._repository = repository
        self._check_plugins = check_plugins
        self._utc = utc
        self._ids = MadeIds()
        self._files: dict[str, bytes] = {}
        self._submitted: dict[str, list[ReplyTo]] = {}
        self._canceled: dict[str, list[ReplyTo]] = {}
        self._forgotten: dict[str, list[ReplyTo]] = {}

    def submit(
        self, payload: bytes, reply: ReplyTo | None, epoch: int, now: float
    ) -> Iterator[Action]:
        """Have a job stored, or say at once why not."""
        try:
            file = read_job(payload, self._check_plugins)
        except JobFileError as error:
            yield Note("job_refused", {"faults": len(error.faults)})
            if reply is not None:
                yield refused(reply, "", tuple(error.faults))
            return
        job = file.training_id or self._ids.make(file.model_name, payload, reply, now, self._utc())
        if differences(self._files.setdefault(job, payload), payload):
            if reply is not None:
                problem = f"another job file of the id {job!r} is being stored; try again"
                yield refused(reply, job, (Fault(key="training_id", problem=problem),))
            return
        _join(self._submitted, job, reply)
        store = StoreJob(epoch=epoch, job=job, model=file.model_name, file=payload)
        yield Ask(("store", job), self._repository, store)

    def stored(self, stored: JobStored) -> Iterator[Action]:
        """A job is accepted, or was before."""
        for reply in self._answer(stored.job):
            yield accepted(reply, stored)

    def refused(self, job: str, faults: Iterable[JobFault]) -> Iterator[Action]:
        """A job is not accepted."""
        found = tuple(Fault(key=f.key, problem=f.problem, hint=f.hint) for f in faults)
        for reply in self._answer(job):
            yield refused(reply, job, found)

    def storing(self, job: str) -> bool:
        """Tell whether an answer about this job is awaited."""
        return job in self._files

    def forget(self) -> None:
        """Another controller leads: it will be asked again."""
        self._files.clear()
        self._submitted.clear()
        self._canceled.clear()
        self._forgotten.clear()

    def forget_job(self, job: str, reply: ReplyTo | None, epoch: int) -> Iterator[Action]:
        """Have an ended job listed no more."""
        _join(self._forgotten, job, reply)
        yield Ask(("forget", job), self._repository, ForgetJob(epoch=epoch, job=job))

    def job_forgotten(self, answer: JobForgotten) -> Iterator[Action]:
        """A job is listed no more, or cannot be forgotten."""
        for reply in self._forgotten.pop(answer.job, ()):
            yield forgotten(reply, answer.job, answer.reason)

    def cancel(self, job: str, reply: ReplyTo | None) -> None:
        """Answer once the job has ended."""
        _join(self._canceled, job, reply)

    def ended(self, job: str, phase: str, reason: str) -> Iterator[Action]:
        """A job is over, cancelled or not."""
        why = too_late(phase, reason)
        for reply in self._canceled.pop(job, ()):
            yield canceled(reply, job, why)

    def _answer(self, job: str) -> list[ReplyTo]:
        self._files.pop(job, None)
        return self._submitted.pop(job, [])


def _join(waiting: dict[str, list[ReplyTo]], job: str, reply: ReplyTo | None) -> None:
    if reply is not None and reply not in waiting.setdefault(job, []):
        waiting[job].append(reply)  # who asks twice is answered once
