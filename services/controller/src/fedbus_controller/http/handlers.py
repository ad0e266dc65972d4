"""Handlers of the controller's HTTP API: jobs and configurations.

A job file takes the way of a submission over the bus, with the same checks; the handler waits for
the reply. Stored jobs and configurations are asked from the repository.
"""

import asyncio
import json
import os
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from fedbus.core import clock
from fedbus.http_api.request_bodies import read_body
from fedbus.http_api.request_parameters import read_name, read_query_name, read_query_number
from fedbus.http_api.responses import ApiError, json_response
from fedbus.http_api.result_reports import results_of
from fedbus.jobs import JobFault, JobFileError, configuration_of
from fedbus.jobs.json_tree import read
from fedbus.limits import MAX_JOB_FILE_BYTES
from fedbus.runtime.shell import Shell
from fedbus.wire import codec
from fedbus.wire.documents import ENDED_PHASES
from fedbus.wire.job_faults import read_refusal
from fedbus.wire.messages import (
    Configuration,
    ConfigurationShown,
    ConfigurationsListed,
    ConfigurationStored,
    JobFileShown,
    JobResultShown,
    JobResultsListed,
    ListConfigurations,
    ListJobResults,
    RequestRefused,
    ShowConfiguration,
    ShowJobFile,
    ShowJobResult,
    StoreConfiguration,
)
from fedbus_controller.core import ControllerCore
from fedbus_controller.http.refused_paths import NO_MEANING
from fedbus_controller.http.schemas import (
    STATUS_OF,
    ConfigurationQuestion,
    ConfigurationReport,
    ConfiguredTraining,
    EnablersStatus,
    JobAccepted,
    JobStatus,
    ModelQuestion,
    ResultReport,
)
from fedbus_controller.requests.http_requests import (
    AskRepository,
    CancelOverHttp,
    GiveUp,
    Question,
    SubmitOverHttp,
)

ANSWER_SECONDS: Final = 20.0
"""Time that a client waits for the repository; then it gets 504."""
RETRY_LATER: Final = "10"
MAX_SMALL_BODY_BYTES: Final = 64 * 1024
MAX_REQUEST_KEY_CHARACTERS: Final = 128
PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class ControllerHandlers:
    """The handlers that the endpoint table names."""

    core: ControllerCore
    shell: Shell

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
        wanted = codec.from_foreign_json(ConfiguredTraining, body)
        question = ShowConfiguration(configuration=wanted.configuration_id)
        shown = await self._ask(question, ConfigurationShown)
        return await self._submit(request, shown.file, wanted.training_id)

    async def _submit(self, request: web.Request, file: bytes, job: str | None) -> web.Response:
        if job is not None:
            file = _with_id(file, job)
        waiting = _Waiting()
        key = _request_key(request)
        reply = await self._decision(SubmitOverHttp(file, key, waiting.deliver), waiting)
        if not reply["accepted"]:
            raise JobFileError(read_refusal(reply))
        known = reply.get("known", False)
        warnings = tuple(reply.get("warnings", ()))
        accepted = JobAccepted(training_id=reply["job"], known=known, warnings=warnings)
        return json_response(accepted, 200 if known else 201)

    async def list_jobs(self, _: web.Request) -> web.Response:
        """Return the jobs that run, and those that ended last."""
        found = [JobStatus.of(state) for state in self.core.job_states()]
        return web.json_response([codec.to_plain(each) for each in found])

    async def show_job(self, request: web.Request) -> web.Response:
        """Return the status of a job; that of a job which ended long ago is asked for."""
        job = read_name(request, "training_id")
        for state in self.core.job_states():
            if state.job == job:
                return json_response(JobStatus.of(state))
        found = await self._ask(ShowJobResult(job=job, limit=1), JobResultShown, missing=True)
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

    async def stop_job(self, request: web.Request) -> web.Response:
        """Stop a job; versions of finished rounds stay."""
        job = read_name(request, "training_id")
        state = next((each for each in self.core.job_states() if each.job == job), None)
        if state is None:
            running = ", ".join(self._running()) or "none"
            raise ApiError(404, f"no job {job} runs here; running: {running}")
        if state.phase in ENDED_PHASES and state.phase != "cancelled":
            raise ApiError(409, f"job {job} has {state.phase} already")
        await self._cancel(job, _request_key(request))
        return await self.show_job(request)

    async def stop_all(self, request: web.Request) -> web.Response:
        """Stop all jobs."""
        _request_key(request)
        jobs = self._running()
        for job in jobs:
            await self._cancel(job, os.urandom(16))
        return web.json_response({"stopped": jobs})

    async def _cancel(self, job: str, key: bytes) -> None:
        waiting = _Waiting()
        reply = await self._decision(CancelOverHttp(job, key, waiting.deliver), waiting)
        if not reply.get("cancelled"):
            faults = read_refusal(reply)
            raise ApiError(409, reply.get("reason") or "; ".join(map(str, faults)))

    def _running(self) -> list[str]:
        states = self.core.job_states()
        return sorted(each.job for each in states if each.phase not in ENDED_PHASES)

    async def job_file(self, request: web.Request) -> web.Response:
        """Return the file of a job, byte for byte."""
        job = read_name(request, "training_id")
        shown = await self._ask(ShowJobFile(job=job), JobFileShown)
        return web.Response(body=shown.file, content_type="application/json")

    async def job_result(self, request: web.Request) -> web.Response:
        """Return the result of a job, with its last rounds."""
        job = read_name(request, "training_id")
        question = ShowJobResult(job=job, limit=PAGE, before=read_query_number(request, "before"))
        shown = await self._ask(question, JobResultShown)
        return json_response(_result_report(shown))

    async def results_of_model(self, request: web.Request) -> web.Response:
        """Return the results of a model's jobs, the newest first."""
        model = read_name(request, "model_name")
        before = read_query_name(request, "before")
        question = ListJobResults(model=model, limit=PAGE, before=before)
        listed = await self._ask(question, JobResultsListed)
        reports = [
            _result_report(JobResultShown(result=each, before=None, rounds=()))
            for each in listed.results
        ]
        return web.json_response([codec.to_plain(each) for each in reports])

    async def store_configuration(self, request: web.Request) -> web.Response:
        """Store a configuration; 200 if an equal one is stored."""
        body = await read_body(request, MAX_JOB_FILE_BYTES)
        configuration_of(body)  # raises JobFileError for what is not JSON
        stored = await self._ask(StoreConfiguration(file=body), ConfigurationStored, refused=400)
        report = _configuration_report(stored.configuration)
        return json_response(report, 200 if stored.known else 201)

    async def list_configurations(self, request: web.Request) -> web.Response:
        """Return configurations, of one model or of all, the newest first."""
        in_path = "model_name" in request.match_info
        model = read_name(request, "model_name") if in_path else read_query_name(request, "model")
        listed = await self._list(model, read_query_number(request, "before"))
        return web.json_response([codec.to_plain(each) for each in listed])

    async def show_configuration(self, request: web.Request) -> web.Response:
        """Return a configuration by its id."""
        return await self._configuration(read_name(request, "configuration_id"))

    async def trained_configuration(self, request: web.Request) -> web.Response:
        """Return the configuration whose id is in the body."""
        body = await read_body(request, MAX_SMALL_BODY_BYTES)
        asked = codec.from_foreign_json(ConfigurationQuestion, body)
        return await self._configuration(asked.configurationId)

    async def configuration_of_model(self, request: web.Request) -> web.Response:
        """Return the newest configuration of the model in the body."""
        body = await read_body(request, MAX_SMALL_BODY_BYTES)
        model = codec.from_foreign_json(ModelQuestion, body).model_name
        listed = await self._list(model, None)
        if not listed:
            raise ApiError(404, f"model {model} has no configuration")
        return await self._configuration(listed[0].configuration_id)

    async def _configuration(self, name: str) -> web.Response:
        shown = await self._ask(ShowConfiguration(configuration=name), ConfigurationShown)
        return json_response(_configuration_report(shown.configuration, shown.file))

    async def _list(self, model: str | None, before: int | None) -> list[ConfigurationReport]:
        question = ListConfigurations(model=model, limit=PAGE, before=before)
        listed = await self._ask(question, ConfigurationsListed)
        return [_configuration_report(each) for each in listed.configurations]

    async def enablers(self, _: web.Request) -> web.Response:
        """Return which services are online, as far as this controller sees them."""
        counts = self.core.count_nodes(clock.monotonic())
        leads = "leads" if self.core.leads else "standby"
        data = {"controller": leads, "connected": self.shell.connected, **counts}
        return json_response(EnablersStatus(data=data))

    async def no_meaning(self, request: web.Request) -> web.Response:
        """Refuse a path of ASSIST-IoT that has no meaning in fedbus."""
        path = request.match_info.route.resource
        known = "" if path is None else path.canonical
        raise ApiError(501, NO_MEANING.get(known, "this has no meaning in fedbus"))

    async def _ask(
        self,
        question: Question,
        kind: type[Any],
        *,
        refused: int = 404,
        missing: bool = False,
    ) -> Any:  # noqa: ANN401 - of the kind, or None if `missing` is allowed
        """Return the repository's answer; raise ApiError if it refuses or does not answer."""
        waiting = _Waiting()
        answer = await self._wait(AskRepository(question, waiting.deliver), waiting)
        if isinstance(answer, RequestRefused):
            if missing:
                return None
            raise ApiError(refused, answer.reason)
        assert isinstance(answer, kind)  # noqa: S101 - the core matches answers to questions
        return answer

    async def _decision(
        self, message: SubmitOverHttp | CancelOverHttp, waiting: "_Waiting"
    ) -> dict[str, Any]:
        """Return the controller's own reply; raise ApiError 503 if another controller leads."""
        answer = await self._wait(message, waiting)
        if answer is None:
            raise ApiError(
                503, "this controller has no lease: another one leads", Retry_After=RETRY_LATER
            )
        reply: dict[str, Any] = json.loads(answer)
        return reply

    async def _wait(
        self, message: SubmitOverHttp | CancelOverHttp | AskRepository, waiting: "_Waiting"
    ) -> Any:  # noqa: ANN401 - what is delivered
        self.shell.receive_local(message)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await waiting.answer
        except TimeoutError:
            raise ApiError(
                504,
                f"no decision in {ANSWER_SECONDS:g} s: the repository or the broker does not "
                "answer; a job may be stored later, so ask for its status, or send the same "
                "request with the same Idempotency-Key again",
                Retry_After=RETRY_LATER,
            ) from None
        finally:
            self.shell.receive_local(GiveUp(message.deliver))


class _Waiting:
    """A result that is delivered once, in the event loop."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.deliver = self._deliver  # one object, by which the core finds it again

    def _deliver(self, result: object) -> None:
        if not self.answer.done():
            self.answer.set_result(result)


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


def _configuration_report(
    configuration: Configuration, file: bytes | None = None
) -> ConfigurationReport:
    return ConfigurationReport(
        configuration_id=configuration.configuration,
        model_name=configuration.model,
        number=configuration.number,
        stored=configuration.at,
        configuration=None if file is None else json.loads(file),
    )
