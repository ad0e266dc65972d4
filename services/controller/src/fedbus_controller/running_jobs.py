"""Jobs of a controller under its lease: loaded, running, recently ended. Pure."""

from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import suppress

from fedbus.core.actions import Action, Announce, Ask, Cancel, Note, WakeAt
from fedbus.core.keys import Key
from fedbus.jobs import JobFile, parse
from fedbus.limits import MAX_TEXT_CHARACTERS
from fedbus.plugins.discovery import error_message
from fedbus.strategies.chosen_parts import StrategyError
from fedbus.wire.documents import JobState
from fedbus.wire.messages import EndJob, JobEnded, JobLoaded, ListJobs, LoadJob, StopJob
from fedbus.wire.topics import JOB_STATE
from fedbus_controller import keys
from fedbus_controller.job_context import Services
from fedbus_controller.job_progress import JobProgress
from fedbus_controller.published_reasons import ControllerSentence
from fedbus_controller.running_job import RunningJob

MAX_ENDED_JOBS = 256
STOP_SECONDS = 600.0
"""Time during which nodes are asked to stop an ended job; later ones learn it by their offers."""


class RunningJobs:
    """Loads, begins and ends jobs; the core updates `open_asks`, the unanswered requests.

    Attributes:
        running: The running jobs, by id.
        ended: The documents of the jobs that ended last, by id.
        listed: Whether the repository has listed the running jobs.
        put_off: The documents of the jobs whose strategy exceeded the time limit, by id. They are
            being loaded: with each repeated answer of the repository they are tried again.
    """

    def __init__(self, services: Services, open_asks: Collection[Key]) -> None:
        self.running: dict[str, RunningJob] = {}
        self.ended: OrderedDict[str, JobState] = OrderedDict()
        self.put_off: dict[str, JobState] = {}
        self.listed = False
        self._services = services
        self._open_asks = open_asks

    def is_loading(self, job: str) -> bool:
        """Return whether the repository was asked for a job."""
        return keys.JobLoading(job) in self._open_asks

    def knows(self, job: str) -> bool:
        """Return whether a job runs here, or is known not to run any more."""
        return job in self.running or (self.listed and not self.is_loading(job))

    def states(self) -> list[JobState]:
        """Return the documents of the jobs that run or are put off, and of those that ended."""
        running = (job.progress.state() for job in self.running.values())
        return [*running, *self.put_off.values(), *self.ended.values()]

    def list_jobs(self, epoch: int) -> Ask:
        """Ask the repository which jobs run."""
        return Ask(keys.JobListing(), self._services.repository, ListJobs(epoch=epoch))

    def load(self, job: str, epoch: int) -> Iterator[Action]:
        """Ask the repository for a job, unless it runs or is being loaded."""
        if job not in self.running and not self.is_loading(job):
            load = LoadJob(epoch=epoch, job=job)
            yield Ask(keys.JobLoading(job), self._services.repository, load)

    def begin(self, loaded: JobLoaded, epoch: int, now: float) -> Iterator[Action]:
        """Run a loaded job; only announce it if it has ended, unless a user had it forgotten."""
        job = loaded.job
        if loaded.forgotten:
            yield from self._loaded(job)
            return
        file: JobFile | None = None
        try:
            file = parse(loaded.file)
            if loaded.phase == "running":
                self.running[job] = RunningJob(loaded, file, epoch, self._services, now)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a plug-in may raise anything
            # The file was stored by another version of fedbus, or with other plug-ins.
            if isinstance(error, StrategyError) and error.timed_out:
                yield from self._put_off(loaded, file, epoch, str(error))
                return
            yield from self._loaded(job)
            yield from self._end_unreadable(loaded, file, epoch, error_message(error))
            return
        yield from self._loaded(job)
        if loaded.phase == "running":
            yield Note("job_started", {"job": job, "rounds": loaded.rounds})
            yield from self.running[job].resume(now)
        else:
            # The process that ended the job may have been killed before it announced the end.
            yield from self._announce_end(loaded, file, loaded.reason)

    def forget(self, job: str) -> Iterator[Action]:
        """Drop an ended job; an answer about it may be on its way, from before it was forgotten."""
        self.ended.pop(job, None)
        if self.is_loading(job):
            yield Cancel(keys.JobLoading(job))

    def _loaded(self, job: str) -> Iterator[Action]:
        yield Cancel(keys.JobLoading(job))
        self.put_off.pop(job, None)

    def _put_off(
        self, loaded: JobLoaded, file: JobFile | None, epoch: int, problem: str
    ) -> Iterator[Action]:
        progress = JobProgress(loaded, file, None, self._services.utc)
        waiting = "waiting for its strategy to load"
        reason = f"{waiting}: {problem}"[:MAX_TEXT_CHARACTERS]
        hidden = ControllerSentence(
            f"{waiting}; the reason is in the controller's log: job_put_off"
        )
        progress.tell(hidden if progress.hides_agents else reason)
        known = self.put_off.get(loaded.job)
        state = self.put_off[loaded.job] = progress.state()
        if known is None or known.reason != state.reason:
            yield Note("job_put_off", {"job": loaded.job, "reason": reason})
            yield Announce(JOB_STATE, state)
        yield from self.load(loaded.job, epoch)

    def cancel_put_off(self, job: str, epoch: int) -> Ask:
        """Ask the repository to end a job that is put off; the next answer about it says so."""
        end = EndJob(epoch=epoch, job=job, phase="cancelled", reason="cancelled by a user")
        return Ask(keys.JobEnding(job), self._services.repository, end)

    def _end_unreadable(
        self, loaded: JobLoaded, file: JobFile | None, epoch: int, problem: str
    ) -> Iterator[Action]:
        """End a job whose file cannot be used, so that its model is free for other jobs.

        `file` is None if it cannot even be read.
        """
        job, reason = loaded.job, loaded.reason
        if loaded.phase == "running":
            unusable = "its job file cannot be used any more"
            reason = f"{unusable}: {problem}"[:MAX_TEXT_CHARACTERS]
            yield Note("job_unreadable", {"job": job, "reason": reason})
            if JobProgress(loaded, file, None, self._services.utc).hides_agents:
                reason = f"{unusable}; the reason is in the controller's log: job_unreadable"
            end = EndJob(epoch=epoch, job=job, phase="failed", reason=reason)
            yield Ask(keys.JobEnding(job), self._services.repository, end)
        yield from self._announce_end(loaded, file, reason)

    def _announce_end(
        self, loaded: JobLoaded, file: JobFile | None, reason: str
    ) -> Iterator[Action]:
        phase, strategy = loaded.phase, loaded.strategy
        if strategy is None and file is not None:
            with suppress(
                Exception, SystemExit
            ):  # another version of fedbus, or other plug-ins, knew it
                strategy = self._services.strategy(file)
        progress = JobProgress(loaded, file, strategy, self._services.utc)
        progress.tell(ControllerSentence(reason))  # it was published when it was stored
        state = progress.state("failed" if phase == "running" else phase)
        self._keep_ended(state)
        yield Announce(JOB_STATE, state)

    def _keep_ended(self, state: JobState) -> None:
        self.ended[state.job] = state
        while len(self.ended) > MAX_ENDED_JOBS:
            self.ended.popitem(last=False)

    def reload(self, job: str) -> Iterator[Action]:
        """Release a job; the next list of running jobs contains it again."""
        yield from self._release(job, "its plan was not stored in time")

    def plan_refused(self, job: str, epoch: int, reason: str) -> Iterator[Action]:
        """Load a job again at once if its plan waits to be stored: the repository knows more."""
        if job in self.running and keys.PlanStorage(job) in self._open_asks:
            yield from self._release(job, reason)
            yield from self.load(job, epoch)

    def _release(self, job: str, reason: str) -> Iterator[Action]:
        yield Note("job_reloaded", {"job": job, "reason": reason})
        yield from self.running.pop(job).release()

    def end(self, answer: JobEnded, epoch: int, now: float) -> Iterator[Action]:
        """Announce that a job has ended, and ask its nodes to stop."""
        name, phase, reason = answer.job, answer.phase, answer.reason
        yield Cancel(keys.JobEnding(name))
        job = self.running.pop(name, None)
        if job is None:
            return
        yield from job.release()
        yield Note("job_ended", {"job": name, "phase": phase, "reason": reason})
        state = job.progress.ended(answer)
        yield Announce(JOB_STATE, state)
        for node in job.asked_nodes:
            yield Ask(keys.StopRequest(name, node), node, StopJob(epoch=epoch, job=name))
        yield WakeAt(keys.StopDeadline(name), now + STOP_SECONDS)
        self._keep_ended(state)
        if phase != "finished":
            # The running round may have been committed before: load the job to announce that.
            yield from self.load(name, epoch)

    def stopped(self, job: str, node: str) -> Iterator[Action]:
        """Cancel the stop request that a node has answered."""
        yield Cancel(keys.StopRequest(job, node))
        if not self._stop_requests(job):
            yield Cancel(keys.StopDeadline(job))

    def cancel_stop_requests(self, job: str) -> Iterator[Action]:
        """Cancel the stop requests that were not answered."""
        for key in self._stop_requests(job):
            yield Cancel(key)

    def _stop_requests(self, job: str) -> list[Key]:
        return [k for k in self._open_asks if isinstance(k, keys.StopRequest) and k.job == job]

    def clear(self) -> Iterator[Action]:
        """Release and forget all jobs: another controller runs them, or they are loaded again."""
        self.listed = False
        for job in self.running.values():
            yield from job.release()
        self.running.clear()
        self.put_off.clear()
        self.ended.clear()  # another controller may have removed some of them
