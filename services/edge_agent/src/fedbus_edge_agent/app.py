"""Wire an agent to its doors."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator

from fedbus.blobs.spool import Spools
from fedbus.data.format import Format, read_format
from fedbus.data.json_or_file import json_given, named
from fedbus.datasource.config import LoaderError, OptionsError, Recipe
from fedbus.datasource.pipeline import Step, read_pipeline
from fedbus.datasource.source import Source
from fedbus.errors import FedbusError, PluginError, SettingsError, TrainingError
from fedbus.frameworks.tflite.admission import Admission
from fedbus.runtime import service
from fedbus.runtime.node import Identity
from fedbus.runtime.settings import ServiceSettings
from fedbus.runtime.shell import Shell
from fedbus.wire.documents import AgentFacts
from fedbus_edge_agent.core import AgentCore
from fedbus_edge_agent.host.capabilities import measure
from fedbus_edge_agent.http.auth import read_token_auth
from fedbus_edge_agent.standalone.jobs import HttpStarted, StandaloneJobs
from fedbus_edge_agent.standalone.models import UploadedModels
from fedbus_edge_agent.standalone.runner import StandaloneRunner
from fedbus_edge_agent.training.local_trainer import LocalTrainer
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_edge_agent.training.watchdog import STALL_SECONDS, TrainingThread

if TYPE_CHECKING:
    from fedbus.runtime.http import HttpApi

TRIALS = "tflite-trials"
IN_MEMORY = 8 * 2**30


class AgentSettings(ServiceSettings):
    """What an agent needs to know beyond every service."""

    data: Annotated[Path, Field(description="what the loader reads: a file or a folder")]
    loader: Annotated[
        str | None,
        Field(description="the loader plug-in that reads it; by default what it looks like"),
    ] = None
    loader_options: Annotated[
        dict[str, Any],
        Field(description='an object for the loader, as {"target": "class"}: JSON, or its file'),
    ] = {}  # noqa: RUF012 - pydantic copies it
    format: Annotated[
        str | None,
        Field(description="what the data must be, before any step: JSON, or its file"),
    ] = None
    pipeline: Annotated[
        str | None,
        Field(description="a list of transforms between loader and trainer: JSON, or its file"),
    ] = None
    pipeline_test: Annotated[
        str | None,
        Field(description="the same in evaluation; by default without what augments"),
    ] = None
    trainer: Annotated[
        str | None, Field(description="the trainer plug-in; by default one that is installed")
    ] = None
    roles: Annotated[
        tuple[Literal["train", "evaluate"], ...],
        Field(description="train, evaluate, or both with a comma between", min_length=1),
    ] = ("train",)
    home: Annotated[Path, Field(description="where updates are kept until they are stored")] = Path(
        "fedbus-agent"
    )
    threads: Annotated[int, Field(ge=1, le=64, description="worker threads")] = 1
    http_token: Annotated[
        SecretStr | None, Field(description="the token of the agent's own doors, 16 characters")
    ] = None
    http_token_file: Annotated[
        Path | None, Field(description="a file that holds it, which is better")
    ] = None
    http_open: Annotated[
        bool, Field(description="the agent's own doors without a token (loopback only)")
    ] = False
    stall_seconds: Annotated[
        float,
        Field(ge=1, le=86_400, description="training without a batch for so long hangs"),
    ] = STALL_SECONDS

    @field_validator("loader_options", mode="before")
    @classmethod
    def _object(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return json_given(value)
        except TrainingError as error:
            raise ValueError(str(error)) from error

    @field_validator("roles", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def source_of(settings: AgentSettings) -> Source:
    """Load an agent's data as its settings say.

    Raises:
        SettingsError: names the setting that is wrong, and in what.
    """
    recipe = Recipe(
        path=settings.data,
        loader=settings.loader,
        options=settings.loader_options,
        steps=_steps("PIPELINE", settings.pipeline) or (),
        test_steps=_steps("PIPELINE_TEST", settings.pipeline_test),
        declared=_declared(settings.format),
        allowed=settings.plugins,
    )
    try:
        return Source(recipe)
    except FedbusError as error:
        raise SettingsError(f"{_at_fault(settings, error)}: {error}") from error


def _at_fault(settings: AgentSettings, error: FedbusError) -> str:
    """Name the setting that an error of the loader is about."""
    if isinstance(error, OptionsError):
        return "FEDBUS_LOADER_OPTIONS"
    if isinstance(error, LoaderError) and settings.loader is not None:
        return "FEDBUS_LOADER"
    # Loaders put a value that they refuse before what it can be: "colour is 'x'; it can be …".
    refused = (f"{value!r}; " in str(error) for value in settings.loader_options.values())
    return "FEDBUS_LOADER_OPTIONS" if any(refused) else "FEDBUS_DATA"


def _steps(name: str, given: str | None) -> list[Step] | None:
    try:
        return None if given is None else read_pipeline(given)
    except FedbusError as error:
        raise SettingsError(f"FEDBUS_{name}: {error}") from error


def _declared(given: str | None) -> Format | None:
    if given is None:
        return None
    try:
        plain = json_given(given)
    except TrainingError as error:
        raise SettingsError(f"FEDBUS_FORMAT: {error}") from error
    try:
        return read_format(plain)
    except TrainingError as error:
        raise SettingsError(f"FEDBUS_FORMAT: {named(given)}{error}") from error


def build(settings: AgentSettings, identity: Identity) -> service.Built:
    """Make an agent.

    Raises:
        SettingsError: the data cannot be loaded, the trainer it prefers neither, or the doors would
            let anybody in.
    """
    source = source_of(settings)
    token = None if settings.http_token is None else settings.http_token.get_secret_value()
    auth = read_token_auth(
        settings.http, token, settings.http_token_file, wide_open=settings.http_open
    )
    home = settings.home / identity.name
    outbox = Outbox(home)
    # Beside the agents' own folders: those of one machine share what their trials found.
    admission = Admission(settings.home / TRIALS, identity.name)
    local_trainer = LocalTrainer(
        outbox, source, settings.trainer, allowed=settings.plugins, admission=admission
    )
    try:
        local_trainer.trainers.check_own_choice()
    except PluginError as error:
        raise SettingsError(f"FEDBUS_TRAINER: {error}") from error
    models = UploadedModels(home / "models")
    runner = StandaloneRunner(home / "jobs", local_trainer, models)
    choices = local_trainer.trainers.here(), source.loaders(), source.transforms()

    def facts(task: str, held: dict[str, int]) -> AgentFacts:
        examples, form = source.now.train.examples, source.now.form.plain()
        return measure(settings.roles, examples, form, settings.home, task, held, *choices)

    core = AgentCore(
        local_trainer,
        outbox,
        Spools(IN_MEMORY, settings.home),
        facts,
        worker=TrainingThread(settings.stall_seconds),
        standalone=StandaloneJobs(runner.run_round, runner.save_report, runner.load_reports()),
        data=source,
    )

    def own_doors(shell: Shell) -> "HttpApi":
        # aiohttp only where one is open
        from fedbus_edge_agent.http.handlers import Handlers, agent_http  # noqa: PLC0415

        if auth is None:
            return agent_http(core, settings.home, None)
        shell.receive_local(HttpStarted())
        handlers = Handlers(core, models, runner, local_trainer, auth, shell)
        return agent_http(core, settings.home, handlers)

    return service.Built(core, http_api=own_doors)


def main() -> None:
    """Run an agent."""
    service.main("agent", AgentSettings, build)
