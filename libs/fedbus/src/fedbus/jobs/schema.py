"""Schema of the job file: keys, types, bounds and defaults.

Numbers and flags may be written as text ("64", "0.005", "True"), as in aerOS files; null equals
leaving the key out.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from fedbus.jobs.compression_options import StepConfig, Steps
from fedbus.jobs.field_types import NOT_A_FLAG, JobFileObject, Label, Name, Real, Word
from fedbus.jobs.mechanism_cohort import with_cohort
from fedbus.jobs.options import (
    OptimizerConfig,
    SchedulerConfig,
    SingleSchedulerConfig,
    WarmupConfig,
)
from fedbus.jobs.plugin_options import (
    ChoiceConfig,
    Plugins,
    StrategyConfig,
    choice_of_text,
)
from fedbus.jobs.privacy_choice import MECHANISM_OPTIONS, Accounting, PrivacyMechanisms
from fedbus.jobs.protection_options import Homomorphic, SecureAggregation
from fedbus.limits import MAX_COHORT_AGENTS
from fedbus.number_text import format_against
from fedbus.training.options import LOWER_IS_BETTER, TRAINING_PREFIX, impossible_metric
from fedbus.wire.identifiers import BASE


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Id = Annotated[Name, BeforeValidator(_number_as_text)]


def default_quorum(agents: int) -> int:
    """Return three quarters of the cohort, so that a round need not wait for stragglers."""
    return max(1, math.ceil(0.75 * agents))


class TrainingConfig(JobFileObject):
    """Training of an agent in one round."""

    config_id: Label | None = Field(default=None, description="A label without effect.")
    batch_size: Annotated[int, Field(ge=1, le=1_000_000), NOT_A_FLAG] = 32
    steps_per_epoch: Annotated[int, Field(ge=1, le=100_000_000), NOT_A_FLAG] | None = Field(
        default=None, description="Batches in an epoch; all batches if left out."
    )
    epochs: Annotated[int, Field(ge=1, le=100_000), NOT_A_FLAG] = 1
    learning_rate: Annotated[float, Field(gt=0, le=1000), NOT_A_FLAG] | None = Field(
        default=None,
        description="optimizer_config.lr or .learning_rate takes precedence; 0.01 if none is set.",
    )


class RoundSettings(JobFileObject):
    """Cohort and deadline of a round. Specific to fedbus."""

    agents: Annotated[int, Field(ge=1, le=MAX_COHORT_AGENTS), NOT_A_FLAG] = Field(
        default=2,
        description="Agents asked in each round; by default num_sampled_clients of the privacy "
        "mechanism, if the job has one.",
    )
    quorum: Annotated[int, Field(ge=0, le=MAX_COHORT_AGENTS), NOT_A_FLAG] = Field(
        default_factory=lambda found: default_quorum(found["agents"]),
        description="Updates with which a round is committed at its deadline; 3/4 of agents, "
        "rounded up. 0 with Poisson sampling, and only then.",
    )
    deadline_seconds: Annotated[float, Field(ge=1, le=86_400), NOT_A_FLAG] = 600.0
    keep_optimizer_state: bool = Field(
        default=False,
        description="Whether each agent keeps the state of its optimizer and scheduler between "
        "rounds; otherwise both start again in every round.",
    )
    precision: Literal["full", "mixed"] = Field(
        default="full",
        description="`mixed` computes in bfloat16 on a GPU that supports it; other devices, and "
        "tflite, use full precision.",
    )


ON_TRAINING_DATA = "no evaluator measured it, so the metric is of the agents' training data"


class JobFile(JobFileObject):
    """The job file, as a user or an aerOS controller writes it."""

    training_id: Id | None = Field(
        default=None,
        description="The job's id; if left out, one is generated and stated in the reply. An "
        "equal file with the same id is the same job.",
    )
    model_name: Name = Field(description="The model in the repository that the job trains.")
    model_version: Annotated[Label, BeforeValidator(_number_as_text)] | None = Field(
        default=None, description="A label without effect: training starts from the latest version."
    )
    num_rounds: Annotated[int, Field(ge=1, le=100_000), NOT_A_FLAG]
    client_type_id: Label | None = Field(
        default=None,
        description="`base` selects a trainer that fedbus ships, regardless of the agent's "
        "settings; with any other word, or without this key, the agent chooses.",
    )
    server_address: Label | None = Field(
        default=None, description="Without effect: there is no server, only the broker."
    )
    eval_metrics: Annotated[tuple[Word, ...], Field(max_length=32)] = Field(
        default=("accuracy",), description="By default no metric if the loss is for regression."
    )
    eval_metrics_value: Real | None = Field(
        default=None, description="Only 0: stopping_target has the values of metrics to stop at."
    )
    eval_func: Word = Field(default="categorical_crossentropy", description="The loss.")
    num_classes: Annotated[int, Field(ge=1, le=1_000_000), NOT_A_FLAG] | None = Field(
        default=None, description="Without effect: the model's spec has it."
    )
    shape: Annotated[
        tuple[Annotated[int, Field(ge=1, le=1_000_000_000), NOT_A_FLAG], ...], Field(max_length=8)
    ] = Field(default=(), description="Without effect: the model's spec has it.")
    config: Annotated[tuple[TrainingConfig, ...], Field(max_length=64)] = Field(
        default=(), description="One entry."
    )
    optimizer_config: OptimizerConfig = OptimizerConfig()
    scheduler_config: SchedulerConfig = SchedulerConfig()
    warmup_config: WarmupConfig = WarmupConfig()
    privacy_mechanisms: PrivacyMechanisms = Field(
        default=PrivacyMechanisms(), alias="privacy-mechanisms"
    )
    stopping_target: Mapping[str, Real] = Field(
        default={},
        description="Metrics that end the job early: at least this accuracy or similar, at most "
        "this loss or error. Measured on evaluators' held-out data; if no evaluator "
        "is online, on the agents' training data, with a warning in the reply to the "
        "job file.",
    )
    stopping_flag: bool | None = Field(
        default=None, description="false: stopping_target does not end the job."
    )
    strategy: Annotated[StrategyConfig, BeforeValidator(choice_of_text)] = StrategyConfig()
    transmitter: Steps = Field(
        default=(),
        description="Steps that make each update smaller, in this order; nothing if left out.",
    )
    download: Steps = Field(
        default=(),
        description="Steps that make each version smaller that agents download, in this order: "
        "cast, quantize and zstandard.",
    )
    energy: bool = Field(
        default=False,
        description="Whether agents report an estimate of the energy that they use, and of its "
        "CO2.",
    )
    round: RoundSettings = RoundSettings()
    plugins: Plugins = Plugins()

    @model_validator(mode="before")
    @classmethod
    def _cohort_of_mechanism(cls, written: Any) -> Any:  # noqa: ANN401 - any JSON value
        return with_cohort(written)

    @property
    def id(self) -> str:
        """The job's id; a file without one gets it by `named` first."""
        assert self.training_id is not None  # noqa: S101 - a job without an id is not run
        return self.training_id

    def named(self, job: str) -> Self:
        """Return the same job with this id."""
        return self.model_copy(update={"training_id": job})

    @property
    def promises_nothing(self) -> bool:
        """Whether `privacy-mechanisms` is written, and asks for nothing."""
        return "privacy_mechanisms" in self.model_fields_set and self.privacy_mechanisms.is_empty

    @property
    def trainer(self) -> str | None:
        """Name of the trainer, `BASE` for any that fedbus ships, None for the agent's choice."""
        return self.plugins.trainer or (BASE if self.client_type_id == BASE else None)

    @property
    def targets(self) -> Mapping[str, float]:
        """Thresholds of metrics that end this job; empty if its stopping_flag is false."""
        return {} if self.stopping_flag is False else self.stopping_target

    def reached(self, metrics: Mapping[str, float], *, trained: bool = False) -> str | None:
        """Return a sentence about the first target that these metrics reach; None: none is reached.

        With `trained`, metrics of the training data are used for targets without held-out metrics.
        A share outside 0 to 1 reaches no target.
        """
        for metric, threshold in self.targets.items():
            name = metric
            if trained and metric not in metrics:
                name = f"{TRAINING_PREFIX}{metric}"
            value = metrics.get(name, math.nan)
            lower = metric in LOWER_IS_BETTER
            met = value <= threshold if lower else value >= threshold
            if not met or impossible_metric({name: value}):
                continue
            bound = f"{'at most' if lower else 'at least'} {threshold:.10g} was asked"
            judged = "" if name == metric else f" of {metric}; {ON_TRAINING_DATA}"
            return f"{name} {format_against(value, threshold, 6)}, {bound}{judged}"
        return None


PARTS: Mapping[tuple[str, ...], type[JobFileObject]] = {
    (): JobFile,
    ("round",): RoundSettings,
    ("plugins",): Plugins,
    ("plugins", "transforms"): ChoiceConfig,
    ("strategy",): StrategyConfig,
    ("strategy", "aggregator"): ChoiceConfig,
    ("strategy", "server_optimizer"): ChoiceConfig,
    ("strategy", "objective"): ChoiceConfig,
    ("strategy", "update_transforms"): ChoiceConfig,
    ("config",): TrainingConfig,
    ("optimizer_config",): OptimizerConfig,
    ("scheduler_config",): SchedulerConfig,
    ("scheduler_config", "schedulers"): SingleSchedulerConfig,
    ("warmup_config",): WarmupConfig,
    ("warmup_config", "scheduler_conf"): SchedulerConfig,
    ("warmup_config", "scheduler_conf", "schedulers"): SingleSchedulerConfig,
    ("privacy-mechanisms",): PrivacyMechanisms,
    ("transmitter",): StepConfig,
    ("download",): StepConfig,
    ("privacy-mechanisms", "homomorphic"): Homomorphic,
    ("privacy-mechanisms", "secure-aggregation"): SecureAggregation,
    **{("privacy-mechanisms", name): options for name, options in MECHANISM_OPTIONS.items()},
    ("privacy-mechanisms", "accounting"): Accounting,
}
"""The objects of a job file by their path; a hint names the first one that has a key."""

RENAMED_KEYS: Mapping[str, str] = {
    "round.keep_state": "round.keep_optimizer_state",
    "round.weighted": "strategy.parameters.weighted",
    "plugins.aggregator": "strategy",
}
"""Earlier names of keys, each with the present one; the fault of an earlier name states it."""
