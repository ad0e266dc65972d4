"""What people ask for, until the repository has stored what came of it. Pure.

A request that cannot be decided yet, without the lease or while its job is being loaded, is held.
Nobody is told what is not stored, and the broker keeps a request that was published with QoS 1
until it is decided: a controller that is killed meanwhile gets it again.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from fedbus.core.actions import Action, Ask, Clear, Note, Settle
from fedbus.core.events import ReplyTo, Requested
from fedbus.jobs import JobFileError, differences
from fedbus.wire.documents import RefusedRequest
from fedbus.wire.identifiers import Timestamp
from fedbus.wire.messages import Acceptance, ForgetJob, JobFault, JobForgotten, JobLoaded, StoreJob
from fedbus.wire.topics import CANCEL, JOB_REFUSED, JOB_REQUEST
from fedbus_controller import keys
from fedbus_controller.requests.job_files import (
    PluginCheck,
    accepted,
    awaited,
    canceled,
    forgotten,
    job_of_file,
    named_in,
    read_job,
    refused,
    too_late,
    unjudged,
)
from fedbus_controller.requests.job_ids import JobIds, ProposedId
from fedbus_controller.requests.refusal_documents import RefusalDocuments
from fedbus_controller.requests.request_queue import RequestQueue, UserRequest
from fedbus_controller.requests.submission_warnings import Trainers, unmeasured


class PendingRequests:
    """Who waits for which job's acceptance or end; `utc` is the clock by which ids are made."""

    def __init__(
        self, repository: str, check_plugins: PluginCheck, utc: Callable[[], Timestamp]
    ) -> None:
        self._repository = repository
        self._check_plugins = check_plugins
        self._utc = utc
        self._ids = JobIds()
        self._refusals = RefusalDocuments()
        self._waiting = RequestQueue()  # not decided yet
        self._storing: dict[str, list[UserRequest]] = {}
        self._ending: dict[str, list[UserRequest]] = {}
        self._forgotten: dict[str, list[ReplyTo]] = {}

    # ── what arrives ──────────────────────────────────────────────────────────────────────────────

    def arrived(self, event: Requested, *, led: bool) -> Iterator[Action]:
        """Take in a request, to be decided when it can be; `led`: another controller leads."""
        if event.retained and event.topic != JOB_REQUEST:
            yield Note("retained_ignored", {"topic": event.topic.pattern, "reason": _RETAINED})
            yield from _settled(event.receipt)
        elif not event.payload and event.reply is None:  # a retained message was cleared
            place = event.levels.get("job")
            yield from _let_go(self._waiting.drop(lambda one: one.place == place))
            yield from _settled(event.receipt)
        else:
            request = _request(event)
            if twin := self._twin(request):
                yield from _settled(twin.said_again(request.receipt))
            elif (full := self._waiting.full(request)) and not led:
                yield from self._refuse(request, (JobFault(key="", problem=self._too_many(full)),))
            else:
                # Who leads has it too, so the oldest may go.
                yield from _let_go(self._waiting.hold(request))

    def _twin(self, request: UserRequest) -> UserRequest | None:
        taken = [
            one for some in (self._storing, self._ending) for each in some.values() for one in each
        ]
        return next((one for one in (*self._waiting, *taken) if one.same(request)), None)

    def _too_many(self, full: str) -> str:
        return (
            f"{full} wait already, and none can be decided while no controller has the lease of "
            f"{self._repository}; send it again later"
        )

    def undecided(self) -> list[UserRequest]:
        """Take all requests that are held, oldest first; `hold` those that stay so."""
        return self._waiting.take()

    def hold(self, request: UserRequest) -> None:
        """Decide it later."""
        self._waiting.put_back([request])

    def reconnected(self) -> None:
        """The broker gives again what it keeps: receipts of before mean nothing any more."""
        taken = [
            one for some in (self._storing, self._ending) for each in some.values() for one in each
        ]
        for request in (*self._waiting, *taken):
            request.receipt = None

    def forget(self) -> None:
        """The lease is lost: what was asked under it is undecided again."""
        for some in (self._storing, self._ending):
            for requests in some.values():
                self._waiting.put_back(requests)
            some.clear()
        self._forgotten.clear()

    # ── while another controller leads ────────────────────────────────────────────────────────────

    def led(self) -> Iterator[Action]:
        """Another controller has renewed its lease: it has all that is held here."""
        yield from _let_go(self._waiting.led())

    def stored_elsewhere(self, job: str, *, over: bool) -> Iterator[Action]:
        """Another controller has said where a job stands."""
        dropped = self._waiting.drop(lambda one: one.job == job and (over or not one.is_cancel))
        yield from _let_go(dropped)

    def refused_elsewhere(self, refusal: RefusedRequest) -> Iterator[Action]:
        """Another controller has refused a request."""
        cancel = refusal.request == "cancel"
        dropped = self._waiting.drop(lambda one: one.job == refusal.job and one.is_cancel == cancel)
        yield from _let_go(dropped)

    # ── jobs ──────────────────────────────────────────────────────────────────────────────────────

    def submit(self, request: UserRequest, epoch: int) -> Iterator[Action]:
        """Have a job stored, or say at once why not."""
        try:
            file = job_of_file(read_job(request.payload, self._check_plugins), request.place)
        except JobFileError as error:
            yield from self._refuse(request, error.faults)
            return
        payload, model = request.payload, file.model_name
        if request.proposal is None:
            named = file.training_id or request.place
            request.proposal = (
                ProposedId(named)
                if named
                else self._ids.propose(model, payload, request.reply, self._utc())
            )
        job, origin = request.proposal.job, request.proposal.origin
        others = self._storing.setdefault(job, [])
        if others and differences(others[0].payload, payload):
            problem = f"another job file of the id {job!r} is being stored; try again"
            yield from self._refuse(request, (JobFault(key="training_id", problem=problem),))
            return
        others.append(request)
        store = StoreJob(
            epoch=epoch,
            job=job,
            model=model,
            file=payload,
            origin=origin,
            redelivered=request.redelivered,
        )
        yield Ask(keys.JobStorage(job), self._repository, store)

    def stored(
        self,
        stored: JobLoaded,
        acceptance: Acceptance,
        *,
        online: int,
        judged: bool = True,
        trainers: Sequence[Trainers] = (),
    ) -> Iterator[Action]:
        """A job is accepted, or was before.

        `online`: how many agents are there that train; `judged`: an evaluator is there to score it;
        `trainers`: what each agent has that is there.
        """
        for request in self._storing.pop(acceptance.proposed or stored.job, ()):
            own = () if acceptance.known else unmeasured(request.payload, trainers)
            warnings = [*acceptance.warnings, *own]
            if not judged and not acceptance.known:
                warnings += unjudged(request.payload)
            if not acceptance.known:
                warnings += awaited(request.payload, online)
            if request.reply is not None:
                yield accepted(request.reply, stored, warnings, known=acceptance.known)
            for warning in warnings:
                yield Note("job_warned", {"job": stored.job, "warning": warning})
            yield from _decided(request)
        yield Clear(JOB_REFUSED, {"job": stored.job})

    def refused(self, job: str, faults: Iterable[JobFault]) -> Iterator[Action]:
        """A job is not accepted."""
        found = tuple(faults)
        for request in self._storing.pop(job, ()):
            yield from self._refuse(request, found)

    def storing(self, job: str) -> bool:
        """Tell whether an answer about this job is awaited."""
        return job in self._storing

    def _refuse(self, request: UserRequest, faults: tuple[JobFault, ...]) -> Iterator[Action]:
        if request.is_cancel:
            yield from self.not_canceled(request, faults[0].problem)
            return
        said = [str(fault) for fault in faults]
        facts = {"job": request.job, "faults": said[:MOST_NOTED]}
        yield Note("job_refused", facts | _silence(request))
        if request.reply is not None:
            yield refused(request.reply, request.job, faults)
        yield from self._refusals.say(request, faults)
        yield from _decided(request)

    # ── ended jobs ────────────────────────────────────────────────────────────────────────────────

    def forget_job(self, job: str, reply: ReplyTo | None, epoch: int) -> Iterator[Action]:
        """Have an ended job listed no more."""
        waiting = self._forgotten.setdefault(job, [])
        if reply is not None and reply not in waiting:
            waiting.append(reply)  # who asks twice is answered once
        yield Ask(keys.JobRemoval(job), self._repository, ForgetJob(epoch=epoch, job=job))

    def job_forgotten(self, answer: JobForgotten) -> Iterator[Action]:
        """A job is listed no more, or cannot be forgotten."""
        for reply in self._forgotten.pop(answer.job, ()):
            yield forgotten(reply, answer.job, answer.reason)

    # ── cancellations ─────────────────────────────────────────────────────────────────────────────

    def cancel(self, request: UserRequest) -> None:
        """Answer once the job has ended."""
        self._ending.setdefault(request.job, []).append(request)

    def ended(self, job: str, phase: str, reason: str) -> Iterator[Action]:
        """A job is over, cancelled or not."""
        for request in self._ending.pop(job, ()):
            if why := too_late(phase, reason):
                yield from self.not_canceled(request, why)
            else:
                if request.reply is not None:
                    yield canceled(request.reply, job, "")
                yield from _decided(request)

    def not_canceled(self, request: UserRequest, why: str) -> Iterator[Action]:
        """Say why a job is not cancelled."""
        yield Note("cancel_refused", {"job": request.job, "reason": why} | _silence(request))
        if request.reply is not None:
            yield canceled(request.reply, request.job, why)
        yield from self._refusals.say(request, (JobFault(key="", problem=why),))
        yield from _decided(request)


MOST_NOTED = 8
_RETAINED = (
    "retained messages there are old wishes, and none is followed; clear it (mosquitto_pub -r -n "
    "-t …). A job that is to survive the broker is published retained to jobs/ID/request"
)


def _request(event: Requested) -> UserRequest:
    cancel = event.topic == CANCEL
    place = event.levels.get("job", "")
    return UserRequest(
        is_cancel=cancel,
        payload=event.payload,
        reply=event.reply,
        job=named_in(event.payload, cancel=cancel, place=place),
        place=place,
        receipt=event.receipt,
        unanswerable=event.unanswerable,
        redelivered=event.redelivered,
    )


def _silence(request: UserRequest) -> dict[str, str]:
    """Say in the log why its asker is not answered."""
    return {"unanswered": request.unanswerable} if request.reply is None else {}


def _decided(request: UserRequest) -> Iterator[Action]:
    """Let the broker forget a request."""
    yield from _settled(request.receipt)
    if request.place:
        yield Clear(JOB_REQUEST, {"job": request.place})


def _let_go(requests: Iterable[UserRequest]) -> Iterator[Action]:
    """Leave requests to the controller that leads."""
    for request in requests:
        yield from _settled(request.receipt)


def _settled(receipt: int | None) -> Iterator[Action]:
    if receipt is not None:
        yield Settle(receipt)
