"""Decisions on users' requests, from the lease and the state of jobs. Pure."""

from collections.abc import Iterator

from fedbus.core.actions import Action, Cancel, Clear, Note
from fedbus.core.events import Requested
from fedbus.scalars import IDENT_SAID
from fedbus.wire.documents import ENDED_PHASES, JobState, RefusedRequest
from fedbus.wire.messages import Acceptance, JobForgotten, JobLoaded
from fedbus.wire.topics import FORGET, JOB_STATE, ROUND_STATE
from fedbus_controller import keys
from fedbus_controller.fleet import Fleet
from fedbus_controller.leadership import Leadership
from fedbus_controller.published_reasons import ControllerSentence
from fedbus_controller.requests.job_files import NO_ID, requested_job
from fedbus_controller.requests.pending_requests import PendingRequests
from fedbus_controller.requests.replies import forget_reply
from fedbus_controller.requests.request_queue import UserRequest
from fedbus_controller.requests.submission_warnings import OnlineAgents
from fedbus_controller.running_jobs import RunningJobs


class RequestDecisions:
    """Decides pending requests as soon as the lease and the jobs allow it."""

    def __init__(
        self, pending: PendingRequests, jobs: RunningJobs, lease: Leadership, fleet: Fleet
    ) -> None:
        self._pending = pending
        self._jobs = jobs
        self._lease = lease
        self._fleet = fleet

    def receive(self, event: Requested, now: float) -> Iterator[Action]:
        """Hold a request, and decide it if possible."""
        if event.topic != FORGET:
            another_leads = self._lease.another_leads(now)
            yield from self._pending.receive(event, another_leads=another_leads)
            yield from self.decide()
        elif self._lease.epoch is not None:
            name = requested_job(event.payload)
            if name is not None:
                yield from self._pending.forget_job(name, event.reply, self._lease.epoch)
            else:
                yield from forget_reply(event.reply, "", NO_ID)

    def decide(self) -> Iterator[Action]:
        """Decide the pending requests that can be decided now."""
        if self._lease.epoch is None:
            return
        for request in self._pending.undecided.take_all():
            if request.is_cancel:
                yield from self._cancel(request, self._lease.epoch)
            else:
                yield from self._pending.submit(request, self._lease.epoch)

    def _cancel(self, request: UserRequest, epoch: int) -> Iterator[Action]:
        name, jobs, pending = request.job, self._jobs, self._pending
        ended = jobs.ended.get(name)
        if name in jobs.running:
            pending.await_end(request)
            by_user = ControllerSentence("cancelled by a user")
            yield from jobs.running[name].end("cancelled", by_user)
        elif name in jobs.put_off:
            pending.await_end(request)
            yield jobs.cancel_put_off(name, epoch)
        elif not name:
            yield from pending.outcomes.refuse_cancel(request, f"{NO_ID}: {IDENT_SAID}")
        elif ended is not None:
            pending.await_end(request)
            yield from pending.job_ended(name, ended.phase, ended.reason)
        elif jobs.is_loading(name) or pending.is_storing(name) or not jobs.listed:
            pending.undecided.put_back([request])
        else:
            running = ", ".join(sorted(jobs.running)) or "none"
            reason = f"no running job of this id; running: {running}"
            yield from pending.outcomes.refuse_cancel(request, reason)

    def job_stored(self, loaded: JobLoaded, acceptance: Acceptance, now: float) -> Iterator[Action]:
        """Accept the requests whose job is stored, with warnings about the online agents."""
        evaluators = dict(self._fleet.agents("evaluate", now))
        trainers = dict(self._fleet.agents("train", now))
        online = OnlineAgents(
            training=len(trainers),
            evaluating=len(evaluators),
            only_evaluating=len(evaluators.keys() - trainers.keys()),
            trainers=[facts.trainers for facts in (trainers | evaluators).values()],
            known_to_train=len(self._fleet.trainers()),
            known_facts=self._fleet.facts_of_trainers(),
        )
        yield from self._pending.accept(loaded, acceptance, online)

    def job_forgotten(self, answer: JobForgotten) -> Iterator[Action]:
        """Delete the retained documents of a job, and answer the requests."""
        name = answer.job
        yield Cancel(keys.JobRemoval(name))
        if not answer.reason:
            yield from self._jobs.forget(name)
            yield Note("job_forgotten", {"job": name})
            for number in range(1, answer.rounds + 1):
                yield Clear(ROUND_STATE, {"job": name, "round": str(number)})
            yield Clear(JOB_STATE, {"job": name})
        yield from self._pending.job_forgotten(answer)

    def decided_elsewhere(
        self, document: JobState | RefusedRequest, now: float
    ) -> Iterator[Action]:
        """Release the requests that the leading controller has decided."""
        if not self._lease.another_leads(now):
            return  # the document may be an old retained one
        if isinstance(document, JobState):
            ended = document.phase in ENDED_PHASES
            yield from self._pending.stored_elsewhere(document.job, ended=ended)
        else:
            yield from self._pending.refused_elsewhere(document)
