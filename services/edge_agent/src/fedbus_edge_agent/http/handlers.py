"""The agent's own doors, with aerOS's paths: standalone jobs, models, capabilities.

Everything is measured before it is read, and whoever has not the token is not read at all. What a
door decides, it decides with the core, in the core's thread; disks are read in others.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from aiohttp import BodyPartReader, web

from fedbus.errors import FedbusError, StoreError
from fedbus.jobs import JobFile, JobFileError, differences, parse, training_params_of
from fedbus.jobs.eligibility import input_reason, resources_reason
from fedbus.limits import MAX_JOB_FILE_BYTES, MAX_SPEC_BYTES
from fedbus.runtime.http import HttpApi
from fedbus.runtime.shell import Shell
from fedbus.training.params import TrainingParams
from fedbus.wire import codec
from fedbus_edge_agent.core import AgentCore
from fedbus_edge_agent.http import openapi
from fedbus_edge_agent.http.auth import TokenAuth
from fedbus_edge_agent.http.endpoints import ENDPOINTS
from fedbus_edge_agent.http.prometheus import AgentMetrics, JobMetrics
from fedbus_edge_agent.http.responses import (
    ApiError,
    checked_length,
    error_response,
    json_response,
    read_body,
    read_name,
)
from fedbus_edge_agent.standalone.jobs import CancelJob, StartJob
from fedbus_edge_agent.standalone.models import UploadedModel, UploadedModels
from fedbus_edge_agent.standalone.runner import StandaloneRunner
from fedbus_edge_agent.standalone.schemas import Capabilities, JobReport, ModelMetadata
from fedbus_edge_agent.tasks.eligibility import eligibility
from fedbus_edge_agent.training.local_trainer import LocalTrainer

RETRY_SECONDS = 30
_BLOCK = 1 << 20
_GB = 1000**3
_MIB = 2**20
_PAGE = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def agent_http(core: AgentCore, home: Path, handlers: "Handlers | None") -> HttpApi:
    """Make an agent's doors; without a desk only its metrics are added to what all have.

    Those of its jobs are for those whom the desk would answer.
    """
    metrics = AgentMetrics(core, home)
    if handlers is None:
        return HttpApi((web.route("*", "/{tail:.*}", _closed),), (metrics,))
    routes = [
        web.route(
            endpoint.method, path, handlers.door(getattr(handlers, endpoint.does), endpoint.public)
        )
        for endpoint in ENDPOINTS
        for path in dict.fromkeys((endpoint.path, endpoint.path.rstrip("/")))
    ]
    routes.append(web.route("*", "/{tail:.*}", handlers.door(handlers.nothing)))
    return HttpApi(
        routes, (metrics,), (JobMetrics(core),), lambda request: not handlers.refusal(request)
    )


async def _closed(_: web.Request) -> web.Response:
    return error_response(
        ApiError(404, "nothing is here; the agent's own doors want FEDBUS_HTTP_TOKEN_FILE")
    )


@dataclass(frozen=True, slots=True)
class Handlers:
    """Answers requests; its endpoints are those of `endpoints.ENDPOINTS`."""

    core: AgentCore
    models: UploadedModels
    runner: StandaloneRunner
    trainer: LocalTrainer
    auth: TokenAuth
    shell: Shell

    def door(self, handle: Handler, public: bool = False) -> Handler:  # noqa: FBT001, FBT002
        """Let in whoever may come, and answer whatever goes wrong."""

        async def opened(request: web.Request) -> web.StreamResponse:
            try:
                if not public:
                    self._check(request)
                return await handle(request)
            except ApiError as refused:
                return error_response(refused)
            except JobFileError as error:
                return error_response(ApiError(400, str(error)), error.faults)
            except StoreError as error:
                return error_response(ApiError(507, str(error)))
            except FedbusError as error:
                return error_response(ApiError(400, str(error)))

        return opened

    def refusal(self, request: web.Request) -> str | None:
        """Say why a request may not come in; see `Entrance.refusal`."""
        headers = request.headers
        authorization, host = headers.get("Authorization", ""), headers.get("Host", "")
        return self.auth.refusal(authorization, host, headers.get("Origin"))

    def _check(self, request: web.Request) -> None:
        reason = self.refusal(request)
        if reason and self.auth.token is not None:
            raise ApiError(401, reason, WWW_Authenticate="Bearer")
        if reason:
            raise ApiError(403, reason)

    # ── jobs ──────────────────────────────────────────────────────────────────────────────────────

    async def start_job(self, request: web.Request) -> web.Response:
        """Begin a job, once all is known to be in order and its file lies on the disk."""
        job = read_name(request, "training_id")
        body = await read_body(request, MAX_JOB_FILE_BYTES)
        file = parse(body)
        if file.training_id is None:
            file = file.named(job)
        if file.training_id != job:
            raise ApiError(400, f"training_id: {file.training_id} in the file, {job} in the path")
        standalone = self.core.standalone
        known = await asyncio.to_thread(self.runner.job_file, job)
        same = known is not None and not differences(known, body)
        if same and (report := standalone.report(job)):
            return json_response(report)  # sent twice: begun once
        model = await asyncio.to_thread(self.models.find, file.model_name, file.model_version)
        if model is None:
            raise ApiError(404, await asyncio.to_thread(self._no_model, file))
        await asyncio.to_thread(self._check_fit, file, model)
        if not await asyncio.to_thread(self.runner.save_job_file, job, body):
            raise ApiError(409, f"there was a job {job} here already; give this one another id")
        # From here on nothing waits, so nobody comes between.
        if reason := self.core.known().trouble or standalone.refusal(job):
            raise ApiError(503, reason, Retry_After=str(RETRY_SECONDS))
        self.shell.receive_local(StartJob(file, model.version))
        return json_response(self._report(job))

    def _no_model(self, file: JobFile) -> str:
        here = [f"{model.spec.model} {model.version}" for model in self.models.all()]
        named = f"{file.model_name} {file.model_version or ''}".rstrip()
        return (
            f"model {named} is not here; there is {', '.join(here) or 'none'}; "
            "POST /model/ and PUT /model/{name}/{version} bring one"
        )

    def _check_fit(self, file: JobFile, model: UploadedModel) -> None:
        known, spec, trainer = self.core.known(), model.spec, file.trainer
        try:
            name = self.trainer.choose(spec, trainer)
        except FedbusError as error:
            raise ApiError(422, str(error)) from error
        found = eligibility(
            trainer, training_params_of(file), model.numbers_size, known, self.trainer
        )
        if why := found.reason or input_reason(spec.input, found.format):
            raise ApiError(422, why)
        if missing := model.missing(name):
            put = f"PUT /model/{spec.model}/{model.version}"
            raise ApiError(409, f"the model lacks {', '.join(missing)}; {put} brings it")

    async def count_jobs(self, _: web.Request) -> web.Response:
        """Count what waits or runs, by job."""
        return web.json_response(self.core.under_way())

    async def total_jobs(self, _: web.Request) -> web.Response:
        """Count all of it."""
        return web.json_response(sum(self.core.under_way().values()))

    async def show_job(self, request: web.Request) -> web.Response:
        """Tell how a standalone job stands."""
        return json_response(self._report(read_name(request, "training_id")))

    async def stop_job(self, request: web.Request) -> web.Response:
        """End a standalone job; one that is over stays as it is."""
        job = read_name(request, "training_id")
        self._report(job)
        self.shell.receive_local(CancelJob(job))
        return json_response(self._report(job))

    async def job_weights(self, request: web.Request) -> web.StreamResponse:
        """Send the weights that a job's last round left."""
        job = read_name(request, "training_id")
        path = self.runner.weights_path(job)
        if self._report(job).weights is None or not path.exists():
            raise ApiError(409, f"job {job} has no weights yet: no round is done")
        named = {"Content-Disposition": f'attachment; filename="{job}.npz"'}
        return web.FileResponse(path, headers=named)

    def _report(self, job: str) -> JobReport:
        report = self.core.standalone.report(job)
        if report is not None:
            return report
        if job in self.core.under_way():
            raise ApiError(409, f"job {job} is a controller's: `fedbus job cancel {job}` ends it")
        raise ApiError(404, f"no standalone job {job} here")

    # ── models ────────────────────────────────────────────────────────────────────────────────────

    async def add_model(self, request: web.Request) -> web.Response:
        """Take a spec."""
        metadata = codec.from_foreign_json(ModelMetadata, await read_body(request, MAX_SPEC_BYTES))
        found = await asyncio.to_thread(self.models.add, metadata)
        name, label = metadata.model, metadata.model_version
        model = await asyncio.to_thread(self.models.find, name, label)
        if found == "other" or model is None:
            raise ApiError(409, f"model {name} {label} is here already, with another spec")
        return json_response(model.report(), 201 if found == "new" else 200)

    async def list_models(self, _: web.Request) -> web.Response:
        """Tell which models were brought, and what each lacks."""
        models = await asyncio.to_thread(self.models.all)
        return web.json_response([codec.to_plain(model.report()) for model in models])

    async def upload_model(self, request: web.Request) -> web.Response:
        """Take weights and files, part by part; each is whole or not taken."""
        name, label = read_name(request, "name"), read_name(request, "version")
        model = await asyncio.to_thread(self.models.find, name, label)
        if model is None:
            raise ApiError(
                404, f"model {name} {label} is not here; POST /model/ its metadata first"
            )
        length = checked_length(request, model.longest)
        if not request.content_type.startswith("multipart/"):
            raise ApiError(
                415, "send a form: curl -F weights=@weights.npz -F architecture=@model.tflite"
            )
        if (free := self.runner.free_bytes()) < 2 * length:
            raise ApiError(507, f"{length} bytes are sent, {free} are free")
        taken = 0
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                raise ApiError(400, "a form within a form")
            await self._take(model, part)
            taken += 1
        if not taken:
            raise ApiError(400, "an empty form; weights or a file of the spec belongs in it")
        return web.Response(status=204)

    async def _take(self, model: UploadedModel, part: BodyPartReader) -> None:
        if part.name == "weights":  # a small file may hold them, packed
            room = resources_reason(model.numbers_size, TrainingParams(), self.core.known())
            if room:
                raise ApiError(507, room)
        with self.models.receiving(model) as upload:
            with upload.open("wb") as file:
                while block := await part.read_chunk(_BLOCK):
                    try:
                        await asyncio.to_thread(file.write, block)
                    except OSError as error:
                        raise ApiError(507, f"{error.strerror}") from error
            take = self.models.take_weights if part.name == "weights" else self.models.take_file
            await asyncio.to_thread(take, model, upload)

    # ── the machine ───────────────────────────────────────────────────────────────────────────────

    async def capabilities(self, _: web.Request) -> web.Response:
        """Tell what is free and what is installed."""
        known = self.core.known()
        models = await asyncio.to_thread(self.models.all)
        own = {"fedbus": version("fedbus"), "numpy": np.__version__}
        return json_response(
            Capabilities(
                storage=known.storage_mb * _MIB / _GB,
                RAM=known.memory_mb * _MIB / _GB,
                GPU=known.gpu,
                preinstalled_libraries={**own, **known.frameworks},
                available_models={model.spec.model: model.version for model in models},
            )
        )

    async def data_format(self, _: web.Request) -> web.Response:
        """Tell the format of the data."""
        return web.json_response(self.core.known().format)

    async def openapi(self, _: web.Request) -> web.Response:
        """Describe all this to programs."""
        return web.json_response(openapi.document(version("fedbus")))

    async def docs(self, _: web.Request) -> web.Response:
        """Describe all this to people."""
        text = openapi.page(openapi.document(version("fedbus")))
        return web.Response(text=text, content_type="text/html", headers=_PAGE)

    async def nothing(self, request: web.Request) -> web.Response:
        """Say that there is no such door."""
        raise ApiError(404, f"{request.method} {request.path[:200]} is nothing here; see /docs")
