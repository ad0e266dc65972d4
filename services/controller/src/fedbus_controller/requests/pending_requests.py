"""Pending requests of users: held, being stored, or waiting for the end of a job. Pure.

A request that cannot be decided yet, without the lease or while its job is being loaded, is held. A
reply is sent when the repository has stored the result. The broker keeps a request that was
published with QoS 1 until it is settled, and delivers it again after a restart.
"""

from collections.abc import Iterable, Iterator
from itertools import chain

from fedbus.core.actions import Action, Ask, Clear, Note
from fedbus.core.events import ReplyTo, Requested
from fedbus.jobs import JobFile, JobFileError, differences
from fedbus.jobs.parser import ExtraChecks
from fedbus.wire.documents import RefusedRequest
from fedbus.wire.messages import Acceptance, ForgetJob, JobFault, JobForgotten, JobLoaded, StoreJob
from fedbus.wire.strategies import Strategy
from fedbus.wire.topics import CANCEL, JOB_REFUSED, JOB_REQUEST
from fedbus_controller import keys
from fedbus_controller.job_context import Services
from fedbus_controller.requests.job_files import (
    JobIds,
    ProposedId,
    job_in_request,
    judged_job,
)
from fedbus_controller.requests.outcomes import (
    RequestOutcomes,
    settle,
    settle_decided,
    settle_released,
)
from fedbus_controller.requests.private_submissions import private_job_faults
from fedbus_controller.requests.replies import accepted_reply, cancel_reply, forget_reply
from fedbus_controller.requests.request_queue import RequestQueue, UserRequest
from fedbus_controller.requests.submission_warnings import OnlineAgents, submission_warnings

_RETAINED = (
    "a retained message on this topic may be old, so it is ignored; clear it (mosquitto_pub -r -n "
    "-t …). To keep a job over a restart of the broker, publish it retained to jobs/ID/request"
)


class PendingRequests:
    """Requests that are not answered; `undecided` are the held ones."""

    def __init__(self, services: Services, check_plugins: ExtraChecks) -> None:
        self._services = services
        self._check_plugins = check_plugins
        self._ids = JobIds()
        self.outcomes = RequestOutcomes()
        self.undecided = RequestQueue()
        self._storing: dict[str, list[UserRequest]] = {}
        self._ending: dict[str, list[UserRequest]] = {}
        self._forgetting: dict[str, list[ReplyTo]] = {}

    def receive(self, event: Requested, *, another_leads: bool) -> Iterator[Action]:
        """Hold a request; refuse it if the queue is full, unless another controller leads."""
        if event.retained and event.topic != JOB_REQUEST:
            yield Note("retained_ignored", {"topic": event.topic.pattern, "reason": _RETAINED})
            yield from settle(event.receipt)
        elif not event.payload and event.reply is None:  # a retained message was cleared
            topic_job = event.levels.get("job")
            dropped = self.undecided.drop(lambda each: each.topic_job == topic_job)
            yield from settle_released(dropped)
            yield from settle(event.receipt)
        else:
            request = _request(event)
            same = next((each for each in self._all() if each.is_same(request)), None)
            if same is not None:
                yield from settle(same.repeated(request.receipt))
            elif not another_leads and not self.undecided.has_room(request):
                fault = JobFault(key="", problem=self._queue_full())
                yield from self.outcomes.refuse(request, (fault,))
            else:
                # The leading controller has the oldest, too: they may be dropped.
                yield from settle_released(self.undecided.push(request))

    def _all(self) -> Iterator[UserRequest]:
        taken = chain(self._storing.values(), self._ending.values())
        return chain(self.undecided, chain.from_iterable(taken))

    def _queue_full(self) -> str:
        return (
            f"{len(self.undecided)} requests wait already, and none can be decided while no "
            f"controller has the lease of {self._services.repository}; send it again later"
        )

    def reconnected(self) -> None:
        """Drop all receipts: the broker delivers the requests that it keeps again."""
        for request in self._all():
            request.receipt = None

    def lease_lost(self) -> None:
        """Hold again all requests that were being stored or waited for a job's end."""
        for taken in (self._storing, self._ending):
            for requests in taken.values():
                self.undecided.put_back(requests)
            taken.clear()
        self._forgetting.clear()

    def lease_renewed_elsewhere(self) -> Iterator[Action]:
        """Release the requests that the leading controller had time to decide."""
        yield from settle_released(self.undecided.lease_renewed_elsewhere())

    def stored_elsewhere(self, job: str, *, ended: bool) -> Iterator[Action]:
        """Release a submission that was stored, and the cancellation of a job that has ended."""
        drop = self.undecided.drop
        yield from settle_released(drop(lambda r: r.job == job and (ended or not r.is_cancel)))

    def refused_elsewhere(self, refusal: RefusedRequest) -> Iterator[Action]:
        """Release the request that another controller has refused."""
        job, cancel = refusal.job, refusal.request == "cancel"
        drop = self.undecided.drop
        yield from settle_released(drop(lambda r: r.job == job and r.is_cancel == cancel))

    def submit(self, request: UserRequest, epoch: int) -> Iterator[Action]:
        """Ask the repository to store a job, or refuse its file."""
        try:
            file, strategy = self._judged(request)
        except JobFileError as error:
            yield from self.outcomes.refuse(request, error.faults)
            return
        payload, model = request.payload, file.model_name
        if request.proposal is None:
            chosen = file.training_id or request.topic_job
            request.proposal = (
                ProposedId(chosen)
                if chosen
                else self._ids.propose(model, payload, request.reply, self._services.utc())
            )
        job, origin = request.proposal.job, request.proposal.origin
        others = self._storing.setdefault(job, [])
        if others and differences(others[0].payload, payload):
            problem = f"another job file of the id {job!r} is being stored; try again"
            fault = JobFault(key="training_id", problem=problem)
            yield from self.outcomes.refuse(request, (fault,))
            return
        others.append(request)
        store = StoreJob(
            epoch=epoch,
            job=job,
            model=model,
            file=payload,
            origin=origin,
            redelivered=request.redelivered,
            strategy=strategy,
            continue_state=file.strategy.continue_state,
        )
        yield Ask(keys.JobStorage(job), self._services.repository, store)

    def _judged(self, request: UserRequest) -> tuple[JobFile, Strategy]:
        """Return a submitted job file with its strategy; raise JobFileError if it has faults.

        The known agents do not matter for a request that was delivered before: its job may be
        stored.
        """
        file, strategy = judged_job(
            request.payload, request.topic_job, self._check_plugins, self._services.strategy
        )
        request.terms = strategy.privacy
        trainers = len(self._services.fleet.trainers())
        faults = private_job_faults(file, strategy.privacy, trainers)
        if faults and not request.redelivered:
            raise JobFileError(faults)
        return file, strategy

    def accept(
        self, stored: JobLoaded, acceptance: Acceptance, online: OnlineAgents
    ) -> Iterator[Action]:
        """Accept the requests whose job is stored, with the warnings of `submission_warnings`."""
        for request in self._storing.pop(acceptance.proposed or stored.job, ()):
            warnings = list(acceptance.warnings)
            if not acceptance.known:
                warnings += submission_warnings(request.payload, request.terms, online)
            yield from accepted_reply(request.reply, stored, warnings, known=acceptance.known)
            for warning in warnings:
                yield Note("job_warned", {"job": stored.job, "warning": warning})
            yield from settle_decided(request)
        yield Clear(JOB_REFUSED, {"job": stored.job})

    def job_refused(self, job: str, faults: Iterable[JobFault]) -> Iterator[Action]:
        """Refuse the requests whose job the repository has refused."""
        found = tuple(faults)
        for request in self._storing.pop(job, ()):
            yield from self.outcomes.refuse(request, found)

    def is_storing(self, job: str) -> bool:
        """Return whether the repository was asked to store a job."""
        return job in self._storing

    def await_end(self, request: UserRequest) -> None:
        """Answer a cancellation when its job has ended."""
        self._ending.setdefault(request.job, []).append(request)

    def job_ended(self, job: str, phase: str, reason: str) -> Iterator[Action]:
        """Answer the cancellations of a job that has ended."""
        for request in self._ending.pop(job, ()):
            if phase != "cancelled":
                yield from self.outcomes.refuse_cancel(request, f"it has already {phase}: {reason}")
            else:
                yield from cancel_reply(request.reply, job, "")
                yield from settle_decided(request)

    def forget_job(self, job: str, reply: ReplyTo | None, epoch: int) -> Iterator[Action]:
        """Ask the repository to remove an ended job from its lists."""
        replies = self._forgetting.setdefault(job, [])
        if reply is not None and reply not in replies:  # a repeated request gets one reply
            replies.append(reply)
        yield Ask(keys.JobRemoval(job), self._services.repository, ForgetJob(epoch=epoch, job=job))

    def job_forgotten(self, answer: JobForgotten) -> Iterator[Action]:
        """Reply that a job is removed, or why it cannot be."""
        for reply in self._forgetting.pop(answer.job, ()):
            yield from forget_reply(reply, answer.job, answer.reason)


def _request(event: Requested) -> UserRequest:
    cancel = event.topic == CANCEL
    topic_job = event.levels.get("job", "")
    return UserRequest(
        is_cancel=cancel,
        payload=event.payload,
        reply=event.reply,
        job=job_in_request(event.payload, cancel=cancel, topic_job=topic_job),
        topic_job=topic_job,
        receipt=event.receipt,
        unanswerable=event.unanswerable,
        redelivered=event.redelivered,
    )
