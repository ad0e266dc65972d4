"""Handlers of the agent's HTTP API: standalone jobs, models, capabilities; with aerOS's paths.

The event loop, in which the core runs as well, makes each decision; files are read in threads.
"""

import asyncio
from dataclasses import dataclass

import numpy as np
from aiohttp import BodyPartReader, web

from fedbus.atomic_write import os_errors_as_store_errors
from fedbus.distributions import version_of
from fedbus.errors import FedbusError
from fedbus.http_api.json_documents import read_document
from fedbus.http_api.request_bodies import checked_length, part_blocks, read_body
from fedbus.http_api.request_parameters import read_name
from fedbus.http_api.responses import ApiError, json_response
from fedbus.jobs import JobFile, differences, parse, training_params_of
from fedbus.jobs.eligibility import resources_reason
from fedbus.jobs.input_match import input_reason
from fedbus.limits import MAX_JOB_FILE_BYTES, MAX_SPEC_BYTES
from fedbus.runtime.shell import Shell
from fedbus.training.params import TrainingParams
from fedbus.wire import codec
from fedbus_edge_agent.core import AgentCore
from fedbus_edge_agent.standalone.jobs import CancelJob, StartJob
from fedbus_edge_agent.standalone.models import UploadedModel, UploadedModels
from fedbus_edge_agent.standalone.runner import StandaloneRunner
from fedbus_edge_agent.standalone.schemas import Capabilities, JobReport, ModelMetadata
from fedbus_edge_agent.standalone.strategy_effect import privacy_reason, strategy_reason
from fedbus_edge_agent.tasks.eligibility import eligibility
from fedbus_edge_agent.training.local_trainer import LocalTrainer

RETRY_SECONDS = 30
_GB = 1000**3
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Handlers:
    """The handlers that `endpoints.ENDPOINTS` names; each raises `ApiError` for a bad request."""

    core: AgentCore
    models: UploadedModels
    runner: StandaloneRunner
    trainer: LocalTrainer
    shell: Shell

    async def start_job(self, request: web.Request) -> web.Response:
        """Start a job after all checks, once its file is stored."""
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
            return json_response(report)  # the file was sent again
        model = await asyncio.to_thread(self.models.find, file.model_name, file.model_version)
        if model is None:
            raise ApiError(404, await asyncio.to_thread(self._no_model, file))
        await asyncio.to_thread(self._check_eligibility, file, model)
        if not await asyncio.to_thread(self.runner.save_job_file, job, body):
            raise ApiError(409, f"there was a job {job} here already; give this one another id")
        # From here on the handler does not wait, so no other request comes between.
        if reason := self.core.current_facts().trouble or standalone.refusal(job):
            raise ApiError(503, reason, Retry_After=str(RETRY_SECONDS))
        self.shell.receive_local(StartJob(file, model.version))
        return json_response(self._report(job))

    def _no_model(self, file: JobFile) -> str:
        uploaded = [f"{model.spec.model} {model.version}" for model in self.models.all()]
        named = f"{file.model_name} {file.model_version or ''}".rstrip()
        return (
            f"model {named} is not here; there is {', '.join(uploaded) or 'none'}; "
            "POST /model/ and PUT /model/{name}/{version} upload one"
        )

    def _check_eligibility(self, file: JobFile, model: UploadedModel) -> None:
        facts, spec, trainer = self.core.current_facts(), model.spec, file.trainer
        try:
            name = self.trainer.choose(spec, trainer)
            refused = privacy_reason(file) or strategy_reason(
                file.strategy, self.trainer.strategies.plugins.allowed
            )
        except FedbusError as error:
            raise ApiError(422, str(error)) from error
        found = eligibility(
            trainer, training_params_of(file), model.weights_bytes, facts, self.trainer
        )
        if reason := refused or found.reason or input_reason(spec.input, found.format):
            raise ApiError(422, reason)
        if missing := model.missing(name):
            put = f"PUT /model/{spec.model}/{model.version}"
            raise ApiError(409, f"the model lacks {', '.join(missing)}; {put} uploads it")

    async def count_jobs(self, _: web.Request) -> web.Response:
        """Return the number of waiting and running trainings of each job."""
        return web.json_response(self.core.active_jobs())

    async def total_jobs(self, _: web.Request) -> web.Response:
        """Return the number of all waiting and running trainings."""
        return web.json_response(sum(self.core.active_jobs().values()))

    async def show_job(self, request: web.Request) -> web.Response:
        """Return the report of a standalone job."""
        return json_response(self._report(read_name(request, "training_id")))

    async def stop_job(self, request: web.Request) -> web.Response:
        """Stop a standalone job; an ended one stays as it is."""
        job = read_name(request, "training_id")
        self._report(job)
        self.shell.receive_local(CancelJob(job))
        return json_response(self._report(job))

    async def job_weights(self, request: web.Request) -> web.StreamResponse:
        """Send the weights of a job's last round."""
        job = read_name(request, "training_id")
        path = self.runner.weights_path(job)
        if self._report(job).weights is None or not path.exists():
            raise ApiError(409, f"job {job} has no weights yet: no round is done")
        headers = {"Content-Disposition": f'attachment; filename="{job}.npz"'}
        return web.FileResponse(path, headers=headers)

    def _report(self, job: str) -> JobReport:
        report = self.core.standalone.report(job)
        if report is not None:
            return report
        if job in self.core.active_jobs():
            raise ApiError(409, f"job {job} is a controller's; `fedbus job cancel {job}` ends it")
        raise ApiError(404, f"no standalone job {job} here")

    async def add_model(self, request: web.Request) -> web.Response:
        """Store an uploaded spec."""
        metadata = read_document(ModelMetadata, await read_body(request, MAX_SPEC_BYTES))
        found = await asyncio.to_thread(self.models.add, metadata)
        name, label = metadata.model, metadata.model_version
        model = await asyncio.to_thread(self.models.find, name, label)
        if found == "other" or model is None:
            raise ApiError(409, f"model {name} {label} was uploaded with another spec")
        return json_response(model.report(), 201 if found == "new" else 200)

    async def list_models(self, _: web.Request) -> web.Response:
        """Return the uploaded models and the files that each lacks."""
        models = await asyncio.to_thread(self.models.all)
        return web.json_response([codec.to_plain(model.report()) for model in models])

    async def upload_model(self, request: web.Request) -> web.Response:
        """Store uploaded weights and files; each part of the form is stored whole or not at all."""
        name, label = read_name(request, "name"), read_name(request, "version")
        model = await asyncio.to_thread(self.models.find, name, label)
        if model is None:
            raise ApiError(
                404, f"model {name} {label} is not here; POST /model/ its metadata first"
            )
        length = checked_length(request, model.max_upload_bytes)
        if not request.content_type.startswith("multipart/"):
            raise ApiError(
                415, "send a form: curl -F weights=@weights.npz -F architecture=@model.tflite"
            )
        if (free := self.runner.free_bytes()) < 2 * length:
            raise ApiError(507, f"{length} bytes need {2 * length} free bytes; {free} are free")
        stored = 0
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                raise ApiError(400, "expected files in the form, got another form")
            await self._store(model, part)
            stored += 1
        if not stored:
            raise ApiError(400, "an empty form; expected weights or a file of the spec")
        return web.Response(status=204)

    async def _store(self, model: UploadedModel, part: BodyPartReader) -> None:
        weights = part.name == "weights"
        if weights:  # a small file may hold large weights, compressed
            facts = self.core.current_facts()
            if reason := resources_reason(model.weights_bytes, TrainingParams(), facts):
                raise ApiError(507, reason)
        with self.models.receiving(model) as upload:
            with os_errors_as_store_errors(upload, "writing an upload"), upload.open("wb") as file:
                async for block in part_blocks(part):
                    await asyncio.to_thread(file.write, block)
            store = self.models.store_weights if weights else self.models.store_file
            await asyncio.to_thread(store, model, upload)

    async def capabilities(self, _: web.Request) -> web.Response:
        """Return free resources, installed packages and uploaded models."""
        facts = self.core.current_facts()
        models = await asyncio.to_thread(self.models.all)
        own = {"fedbus": version_of("fedbus"), "numpy": np.__version__}
        return json_response(
            Capabilities(
                storage=facts.storage_mb * _MIB / _GB,
                RAM=facts.memory_mb * _MIB / _GB,
                GPU=facts.gpu,
                preinstalled_libraries={**own, **facts.frameworks},
                available_models={model.spec.model: model.version for model in models},
            )
        )

    async def data_format(self, _: web.Request) -> web.Response:
        """Return the format of the data."""
        return web.json_response(self.core.current_facts().format)
