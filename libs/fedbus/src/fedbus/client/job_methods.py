"""Methods of the asyncio client for jobs, their results and configurations."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fedbus.client import (
    job_requests,
    stored_jobs,
)
from fedbus.client.client_part import ClientPart
from fedbus.client.job_files import JobSource, job_content, job_payload
from fedbus.client.job_reports import JobHistory, JobNews, JobOutcome, Submission
from fedbus.client.job_requests import AWAY_SECONDS
from fedbus.client.names import configuration_name, model_name
from fedbus.client.names import job_id as checked_job
from fedbus.client.stored_jobs import RECORDS
from fedbus.wire.documents import JobState
from fedbus.wire.messages import (
    Configuration,
    ConfigurationShown,
    ConfigurationStored,
    JobFileShown,
    JobResult,
)


class JobMethods(ClientPart):
    """Submit, watch, cancel and list jobs; read their files, results and configurations."""

    _submitted: set[str]

    async def submit(self, job: JobSource, *, job_id: str | None = None) -> str:
        """Submit a job, and return its id.

            job = await fed.submit({"model_name": "digits", "num_rounds": 5})

        The same job under the same id may be submitted again: it is the same job still, running or
        over.

        Args:
            job: The keys of a job file (docs/job-file.md), the path of one, or its JSON text; at
                most 256 KiB.
            job_id: The id, instead of the file's `training_id`; one is made where neither is given.

        Raises:
            JobRefused: the controller found faults; `faults` has each with its key.
            SettingsError: the job is no JSON, or cannot be read.
            Unreachable: no controller answered; says whether the broker keeps the request.
        """
        return (await self.submission(job, job_id=job_id)).job

    async def submission(self, job: JobSource, *, job_id: str | None = None) -> Submission:
        """Submit a job as `submit` does, and return the controller's whole answer.

            answer = await fed.submission("job.json")
            print(answer.job, answer.known, answer.warnings)

        Raises:
            JobRefused, SettingsError, Unreachable: as `submit`.
        """
        answer = await job_requests.submit(self.connection, job_payload(job, job_id))
        self._submitted.add(answer.job)
        return answer

    async def watch(
        self, job: str, *, submitted: bool = False, away_seconds: float = AWAY_SECONDS
    ) -> AsyncGenerator[JobState, None]:
        """Yield the states of a job until it has ended; the last one is how it ended.

            async for state in fed.watch(job):
                print(state.phase, state.round, state.metrics)

        The first is where the job stands now. A broker that restarts is waited for.

        Args:
            job: The job's id.
            submitted: Whether another client has just submitted it, so that it need not be known
                yet; a job that this client submitted is waited for anyway.
            away_seconds: How long the broker may be offline before BusError is raised, and, once it
                is online again, lack the state of the job before Refused is raised.

        Raises:
            Refused: no such job is known.
            BusError: the broker was unreachable for too long.
        """
        last: JobState | None = None
        following = self.follow(job, submitted=submitted, away_seconds=away_seconds)
        async with aclosing(following) as news:
            async for each in news:
                if isinstance(each, JobState) and each != last:
                    last = each
                    yield each

    def follow(
        self, job: str, *, submitted: bool = False, away_seconds: float = AWAY_SECONDS
    ) -> AsyncGenerator[JobNews, None]:
        """Yield the states of a job, its finished rounds, and what it waits for, until it ended.

            async for news in fed.follow(job):
                match news:
                    case fedbus.client.RoundState(round=number, metrics=metrics):
                        print(number, metrics)

        After a lost connection the broker repeats what it retains, and so does this iterator.

        Args:
            job: The job's id.
            submitted: As for `watch`.
            away_seconds: As for `watch`.

        Raises:
            Refused, BusError: as `watch`.
        """
        known = checked_job(job) in self._submitted or submitted
        return job_requests.follow(self.connection, job, submitted=known, away_seconds=away_seconds)

    async def cancel(self, job: str) -> None:
        """Cancel a job; the versions that it committed stay.

            await fed.cancel("first")

        Raises:
            Refused: no such job is known, or it has ended.
            Unreachable: no controller answered; says whether the broker keeps the request.
        """
        await job_requests.cancel(self.connection, checked_job(job))

    async def forget(self, job: str) -> None:
        """Delete what the broker retains of an ended job; its versions stay.

            await fed.forget("first")

        Raises:
            Refused: no such job is known, or it has not ended.
            Unreachable: no controller answered.
        """
        await job_requests.forget(self.connection, checked_job(job))

    async def jobs(self) -> tuple[JobState, ...]:
        """Fetch the states of all jobs of the last 30 days, the newest last.

            running = [state.job for state in await fed.jobs() if state.phase == "running"]

        Raises:
            BusError: the connection is lost.
        """
        return await job_requests.jobs(self.connection)

    async def job(self, job: str) -> JobHistory:
        """Fetch a job's state and its finished rounds.

            for done in (await fed.job("first")).rounds:
                print(done.round, done.metrics, done.contributors)

        Raises:
            Refused: no such job is known.
        """
        return await job_requests.job(self.connection, checked_job(job))

    # ── records of jobs ─────────────────────────────────────────────────────────────────────────

    async def job_file(self, job: str) -> JobFileShown:
        """Fetch the file of a job as it was submitted, and the id of its configuration.

            shown = await fed.job_file("first")
            print(shown.configuration, shown.file.decode())

        Raises:
            Refused: the repository has no such job.
            Unreachable: the repository did not answer.
        """
        return await stored_jobs.job_file(self.connection, checked_job(job))

    async def job_result(self, job: str, *, limit: int | None = None) -> JobOutcome:
        """Fetch what a job has come to, and its rounds, from the repository's records.

            report = await fed.job_result("first")
            print(report.result.metrics, [each.metrics for each in report.rounds])
            json.dump(report.record, file)

        `job` reads what the broker retains, which is cleared after a time; records stay.

        Args:
            job: The job's id.
            limit: How many rounds to fetch at most, the last ones; None is all of them.

        Raises:
            Refused: the repository has no such job.
            Unreachable: the repository did not answer.
        """
        return await stored_jobs.job_result(self.connection, checked_job(job), limit)

    async def job_results(
        self, model: str, *, limit: int | None = RECORDS
    ) -> tuple[JobResult, ...]:
        """Fetch what the jobs of a model have come to, the newest last.

            best = max(await fed.job_results("digits"), key=lambda each: each.metrics["accuracy"])

        Args:
            model: The model's name.
            limit: How many results to fetch at most, the newest; None is all of them.

        Raises:
            Refused: there is no such model.
            Unreachable: the repository did not answer.
        """
        return await stored_jobs.job_results(self.connection, model_name(model), limit)

    async def configurations(
        self, model: str | None = None, *, limit: int | None = RECORDS
    ) -> tuple[Configuration, ...]:
        """Fetch the configurations of a model, or of all, the newest last.

            print([each.configuration for each in await fed.configurations("digits")])

        Raises:
            Refused: there is no such model.
            Unreachable: the repository did not answer.
        """
        name = None if model is None else model_name(model)
        return await stored_jobs.configurations(self.connection, name, limit)

    async def configuration(self, configuration: str) -> ConfigurationShown:
        """Fetch a configuration: a job file without an id, which can be submitted.

            shown = await fed.configuration("29ccdaf9bf34c154f6ff")
            job = await fed.submit(shown.file)

        Raises:
            Refused: there is none of this id.
            Unreachable: the repository did not answer.
        """
        name = configuration_name(configuration)
        return await stored_jobs.configuration(self.connection, name)

    async def add_configuration(self, job: JobSource) -> ConfigurationStored:
        """Store the configuration of a job file without a job; a known one is not stored again.

            stored = await fed.add_configuration("job.json")
            print(stored.configuration.configuration, stored.known)

        Raises:
            SettingsError: the job is no JSON, or cannot be read.
            Refused: the job file has faults, or its model is not stored.
            Unreachable: the repository did not answer.
        """
        return await stored_jobs.store_configuration(self.connection, job_content(job))
