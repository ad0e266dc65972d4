"""Settings of an agent, and the data that they describe."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator

from fedbus.data.format import Format
from fedbus.data.format_reader import read_format
from fedbus.data.json_or_file import error_prefix, read_json_or_file
from fedbus.datasource.config import DataConfig, LoaderError, OptionsError
from fedbus.datasource.pipeline import PipelineStep, read_pipeline
from fedbus.datasource.source import DataSource
from fedbus.encryption.key_files import SecretKey
from fedbus.encryption.tenseal_contexts import INSTALL
from fedbus.energy.carbon_intensity import grams_per_kwh
from fedbus.energy.energy_meter import EnergyMeter
from fedbus.energy.processor_energy import read_joules_of
from fedbus.errors import FedbusError, SettingsError, TrainingError
from fedbus.runtime.settings import ServiceSettings
from fedbus.secure_aggregation.accepted_terms import SAFE_TERMS, AcceptedTerms
from fedbus.secure_aggregation.masked_task import LEAST_MASKED_AGENTS
from fedbus.wire.secure_aggregation import MAX_MASKED_AGENTS
from fedbus_edge_agent.training.required_protection import RequiredProtection
from fedbus_edge_agent.training.watchdog import STALL_SECONDS


class AgentSettings(ServiceSettings):
    """Settings of an agent, beside those of every service."""

    data: Annotated[Path, Field(description="the file or folder that the loader reads")]
    loader: Annotated[
        str | None, Field(description="the loader plug-in; by default chosen by the kind of file")
    ] = None
    loader_options: Annotated[
        dict[str, Any],
        Field(description='options of the loader, as {"label": "kind"}: JSON, or a JSON file'),
    ] = {}  # noqa: RUF012 - pydantic copies it
    format: Annotated[
        str | None, Field(description="the format that loaded data must have: JSON, or a JSON file")
    ] = None
    pipeline: Annotated[
        str | None,
        Field(description="transforms between loader and trainer: JSON list, or a JSON file"),
    ] = None
    pipeline_test: Annotated[
        str | None,
        Field(description="the same for evaluation; by default without those that augment"),
    ] = None
    trainer: Annotated[
        str | None,
        Field(description="the trainer plug-in; by default the first installed one that fits"),
    ] = None
    roles: Annotated[
        tuple[Literal["train", "evaluate"], ...],
        Field(description="train, evaluate, or both with a comma between", min_length=1),
    ] = ("train",)
    home: Annotated[Path, Field(description="the folder for updates, models and results")] = Path(
        "fedbus-agent"
    )
    pinned_identities: Annotated[
        Path | None,
        Field(
            description="a file with identity keys of other agents, a line `agent.NAME KEY` each: "
            "in masked rounds no other agent counts, whatever is announced"
        ),
    ] = None
    require_protection: Annotated[
        RequiredProtection,
        Field(
            description="none, any, encryption or secure-aggregation: tasks that would send what "
            "the agent has learned without it are declined"
        ),
    ] = "none"
    masking_least_threshold: Annotated[
        float,
        Field(
            ge=0.5, le=1, description="masked rounds of jobs with a smaller threshold are declined"
        ),
    ] = SAFE_TERMS.threshold
    masking_least_neighbours: Annotated[
        int,
        Field(
            ge=2,
            le=MAX_MASKED_AGENTS - 1,
            description="masked rounds of jobs with fewer neighbours are declined",
        ),
    ] = SAFE_TERMS.neighbours
    masking_least_agents: Annotated[
        int,
        Field(
            ge=LEAST_MASKED_AGENTS,
            le=MAX_MASKED_AGENTS,
            description="masked rounds are declined if a sum could have fewer updates",
        ),
    ] = SAFE_TERMS.agents
    masking_least_colluders: Annotated[
        int,
        Field(
            ge=0,
            le=MAX_MASKED_AGENTS,
            description="masked rounds are declined unless this many agents of a neighbourhood may "
            "collude with a dishonest collector; 0: the collector alone may be dishonest",
        ),
    ] = SAFE_TERMS.colluders
    threads: Annotated[int, Field(ge=1, le=64, description="number of worker threads")] = 1
    http_token: Annotated[
        SecretStr | None,
        Field(description="the token of the agent's HTTP API, at least 16 characters"),
    ] = None
    http_token_file: Annotated[
        Path | None, Field(description="a file with the token, which is safer")
    ] = None
    http_open: Annotated[
        bool, Field(description="the agent's HTTP API without a token (loopback only)")
    ] = False
    encryption_key: Annotated[
        Path | None,
        Field(
            description="file of the secret key of encrypted jobs, the same on all agents, which "
            "only its owner may read; see `fedbus keys generate`"
        ),
    ] = None
    watts_per_core: Annotated[
        float | None,
        Field(
            gt=0,
            le=1000,
            description="watts of one busy core, for jobs that ask for energy; by default this "
            "process's share of what the processor's RAPL counters say, or 12 where they cannot be "
            "read; a Raspberry Pi 4 has about 1",
        ),
    ] = None
    country: Annotated[
        str | None,
        Field(
            description="where the electricity comes from, for the CO2 of jobs that ask for "
            "energy: a code of three letters, such as `DEU`; by default the mean of the world"
        ),
    ] = None
    stall_seconds: Annotated[
        float, Field(ge=1, le=86_400, description="training that requests no batch this long hangs")
    ] = STALL_SECONDS

    @property
    def accepted_terms(self) -> AcceptedTerms:
        """The least terms of masked rounds that this agent accepts."""
        return AcceptedTerms(
            threshold=self.masking_least_threshold,
            neighbours=self.masking_least_neighbours,
            agents=self.masking_least_agents,
            colluders=self.masking_least_colluders,
        )

    @field_validator("loader_options", mode="before")
    @classmethod
    def _object(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return read_json_or_file(value)
        except TrainingError as error:
            raise ValueError(str(error)) from error

    @field_validator("roles", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def load_source(settings: AgentSettings) -> DataSource:
    """Load an agent's data; raise SettingsError with the setting at fault and the reason."""
    recipe = DataConfig(
        path=settings.data,
        loader=settings.loader,
        options=settings.loader_options,
        steps=_steps("PIPELINE", settings.pipeline) or (),
        test_steps=_steps("PIPELINE_TEST", settings.pipeline_test),
        declared=_declared(settings.format),
        allowed=settings.plugins,
    )
    try:
        return DataSource(recipe)
    except FedbusError as error:
        raise SettingsError(f"{_setting_at_fault(settings, error)}: {error}") from error


def read_encryption_key(path: Path | None) -> SecretKey | None:
    """Read the secret key of FEDBUS_ENCRYPTION_KEY, if it is set.

    Raises:
        SettingsError: It is no secret key file, other users can read it, or TenSEAL is missing: a
            controller would ask this agent for encrypted updates, and each task would fail.
    """
    if path is None:
        return None
    if find_spec("tenseal") is None:
        raise SettingsError(f"FEDBUS_ENCRYPTION_KEY: {INSTALL}")
    try:
        return SecretKey.load(path)
    except SettingsError as error:
        raise SettingsError(f"FEDBUS_ENCRYPTION_KEY: {error}") from error


def energy_meter(watts_per_core: float | None, country: str | None) -> EnergyMeter:
    """Return the meter of this process; raise SettingsError for an unknown country."""
    try:
        return EnergyMeter(read_joules_of(watts_per_core), grams_per_kwh(country))
    except SettingsError as error:
        raise SettingsError(f"FEDBUS_COUNTRY: {error}") from error


def _setting_at_fault(settings: AgentSettings, error: FedbusError) -> str:
    """Return the setting that an error of the loader is about."""
    if isinstance(error, OptionsError):
        return "FEDBUS_LOADER_OPTIONS"
    if isinstance(error, LoaderError) and settings.loader is not None:
        return "FEDBUS_LOADER"
    # Loaders quote a value that they reject: "colour is 'x': expected …".
    values = settings.loader_options.values()
    quoted = (f"{value!r}{mark} " in str(error) for value in values for mark in ":;")
    return "FEDBUS_LOADER_OPTIONS" if any(quoted) else "FEDBUS_DATA"


def _steps(name: str, given: str | None) -> list[PipelineStep] | None:
    try:
        return None if given is None else read_pipeline(given)
    except FedbusError as error:
        raise SettingsError(f"FEDBUS_{name}: {error}") from error


def _declared(given: str | None) -> Format | None:
    if given is None:
        return None
    prefix = ""  # errors of the first call name the file themselves
    try:
        plain = read_json_or_file(given)
        prefix = error_prefix(given)
        return read_format(plain)
    except TrainingError as error:
        raise SettingsError(f"FEDBUS_FORMAT: {prefix}{error}") from error
