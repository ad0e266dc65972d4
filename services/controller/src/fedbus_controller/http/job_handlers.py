"""Handlers of jobs: submit, watch and stop them, read their files and results.

A job file takes the way of a submission over the bus, with the same checks; the handler waits for
the reply. Jobs that ended long ago are asked from the repository.
"""

import json
import os
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from fedbus.http_api.json_documents import read_document
from fedbus.http_api.request_bodies import read_body
from fedbus.http_api.request_parameters import read_name, read_query_name, read_query_number
from fedbus.http_api.responses import ApiError, json_response
from fedbus.http_api.result_reports import results_of
from fedbus.jobs import JobFault, JobFileError
from fedbus.jobs.json_tree import read
from fedbus.limits import MAX_JOB_FILE_BYTES
from fedbus.wire import codec
from fedbus.wire.documents import ENDED_PHASES
from fedbus.wire.job_faults import read_refusal
from fedbus.wire.messages import (
    ConfigurationShown,
    JobFileShown,
    JobResultShown,
    JobResultsListed,
    ListJobResults,
    ShowConfiguration,
    ShowJobFile,
    ShowJobResult,
)
from fedbus_controller.core import ControllerCore
from fedbus_controller.http.awaited_answers import AwaitedAnswers, Waiting
from fedbus_controller.http.schemas import (
    STATUS_OF,
    ConfiguredTraining,
    JobAccepted,
    JobStatus,
    ResultReport,
)
from fedbus_controller.requests.http_requests import CancelOverHttp, SubmitOverHttp

MAX_REQUEST_KEY_CHARACTERS: Final = 128
MAX_LISTED_RESULTS: Final = 100


@dataclass(frozen=True, slots=True)
class JobHandlers:
    """The handlers of jobs."""

    core: ControllerCore
    answers: AwaitedAnswers

    async def submit(self, request: web.Request) -> web.Response:
        """Submit a job file; 201 once the repository has stored the job."""
        body = await read_body(request, MAX_JOB_FILE_BYTES)
        job = read_name(request, "training_id") if "training_id" in request.match_info else None
        return await self._submit(request, body, job)

    async def train(self, request: web.Request) -> web.Response:
        """Submit a job file, or a stored configuration by its id."""
        body = await read_body(request, MAX_JOB_FILE_BYTES)
        tree = _object(body)
        if "configuration_id" not in tree or "model_name" in tree:
            return await self._submit(request, body, None)
        wanted = read_document(ConfiguredTraining, body)
        question = ShowConfiguration(configuration=wanted.configuration_id)
        shown = await self.answers.ask(question, ConfigurationShown)
        return await self._submit(request, shown.file, wanted.training_id)

    async def _submit(self, request: web.Request, file: bytes, job: str | None) -> web.Response:
        if job is not None:
            file = _with_id(file, job)
        waiting = Waiting()
        key = _request_key(request)
        reply = await self.answers.decision(SubmitOverHttp(file, key, waiting.deliver), waiting)
        if not reply["accepted"]:
            raise JobFileError(read_refusal(reply))
        known = reply.get("known", False)
        warnings = tuple(reply.get("warnings", ()))
        accepted = JobAccepted(training_id=reply["job"], known=known, warnings=warnings)
        return json_response(accepted, 200 if known else 201)

    async def list_all(self, _: web.Request) -> web.Response:
        """Return the jobs that run, and those that ended last."""
        found = [JobStatus.of(state) for state in self.core.job_states()]
        return web.json_response([codec.to_plain(each) for each in found])

    async def show(self, request: web.Request) -> web.Response:
        """Return the status of a job; that of a job which ended long ago is asked for."""
        job = read_name(request, "training_id")
        for state in self.core.job_states():
            if state.job == job:
                return json_response(JobStatus.of(state))
        without_rounds = ShowJobResult(job=job, before=0)
        found = await self.answers.find(without_rounds, JobResultShown)
        if found is None:
            return json_response(JobStatus(training_id=job, status="INACTIVE"))
        result = found.result
        status = JobStatus(
            training_id=job,
            status=STATUS_OF[result.phase],
            round=result.rounds,
            phase=result.phase,
            reason=result.reason,
            model_name=result.model,
            model_version=result.version,
            metrics=result.metrics,
            epsilon=None if result.privacy is None else result.privacy.epsilon,
            submitted=result.submitted,
            ended=result.ended,
        )
        return json_response(status)

    async def stop(self, request: web.Request) -> web.Response:
        """Stop a job; versions of finished rounds stay."""
        job = read_name(request, "training_id")
        state = next((each for each in self.core.job_states() if each.job == job), None)
        if state is None:
            running = ", ".join(self._running()) or "none"
            raise ApiError(404, f"no job {job} runs here; running: {running}")
        if state.phase in ENDED_PHASES and state.phase != "cancelled":
            raise ApiError(409, f"job {job} has {state.phase} already")
        await self._cancel(job, _request_key(request))
        return await self.show(request)

    async def stop_all(self, request: web.Request) -> web.Response:
        """Stop all jobs."""
        _request_key(request)
        jobs = self._running()
        for job in jobs:
            await self._cancel(job, os.urandom(16))
        return web.json_response({"stopped": jobs})

    async def _cancel(self, job: str, key: bytes) -> None:
        waiting = Waiting()
        reply = await self.answers.decision(CancelOverHttp(job, key, waiting.deliver), waiting)
        if not reply.get("cancelled"):
            faults = read_refusal(reply)
            raise ApiError(409, reply.get("reason") or "; ".join(map(str, faults)))

    def _running(self) -> list[str]:
        states = self.core.job_states()
        return sorted(each.job for each in states if each.phase not in ENDED_PHASES)

    async def file(self, request: web.Request) -> web.Response:
        """Return the file of a job, byte for byte."""
        job = read_name(request, "training_id")
        shown = await self.answers.ask(ShowJobFile(job=job), JobFileShown)
        return web.Response(body=shown.file, content_type="application/json")

    async def result(self, request: web.Request) -> web.Response:
        """Return the result of a job, with its last rounds."""
        job = read_name(request, "training_id")
        question = ShowJobResult(
            job=job, limit=MAX_LISTED_RESULTS, before=read_query_number(request, "before")
        )
        shown = await self.answers.ask(question, JobResultShown)
        return json_response(_result_report(shown))

    async def results_of_model(self, request: web.Request) -> web.Response:
        """Return the results of a model's jobs, the newest first."""
        model = read_name(request, "model_name")
        before = read_query_name(request, "before")
        question = ListJobResults(model=model, limit=MAX_LISTED_RESULTS, before=before)
        listed = await self.answers.ask(question, JobResultsListed)
        reports = [
            _result_report(JobResultShown(result=each, before=None, rounds=()))
            for each in listed.results
        ]
        return web.json_response([codec.to_plain(each) for each in reports])


def _request_key(request: web.Request) -> bytes:
    """Return what makes equal requests one: the header Idempotency-Key, or something new."""
    given = request.headers.get("Idempotency-Key")
    if given is None:
        return os.urandom(16)
    if not given or len(given) > MAX_REQUEST_KEY_CHARACTERS:
        raise ApiError(
            400, f"Idempotency-Key: expected 1 to {MAX_REQUEST_KEY_CHARACTERS} characters"
        )
    return given.encode(errors="replace")


def _object(body: bytes) -> dict[str, Any]:
    tree = read(body)
    if not isinstance(tree, dict):
        raise JobFileError((JobFault(key="", problem="expected a JSON object"),))
    return tree


def _with_id(file: bytes, job: str) -> bytes:
    """Return a job file with the id of its path, which it may also have itself."""
    tree = _object(file)
    stated = tree.get("training_id", job)
    if stated != job:
        raise ApiError(400, f"training_id: {stated!r:.80} in the file, {job} in the path")
    if "training_id" in tree:
        return file
    return json.dumps({**tree, "training_id": job}).encode()


def _result_report(shown: JobResultShown) -> ResultReport:
    result = shown.result
    return ResultReport(
        model_name=result.model,
        model_version=result.version,
        training_id=result.job,
        configuration_id=result.configuration,
        results=results_of(result, shown.rounds),
    )
