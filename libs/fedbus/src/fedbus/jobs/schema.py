"""The keys of a job: their types, bounds and defaults.

Numbers and flags may be written as text ("64", "0.005", "True"), as aerOS files do; null is as good
as leaving a key out.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field

from fedbus.jobs.options import (
    NOT_A_FLAG,
    DpAdaptive,
    Homomorphic,
    JobFileObject,
    Label,
    OptimizerConfig,
    Parameters,
    PrivacyMechanisms,
    Real,
    SchedulerConfig,
    SingleSchedulerConfig,
    WarmupConfig,
    Word,
)
from fedbus.limits import MAX_COHORT_AGENTS, MAX_TRANSFORMS
from fedbus.rounding import format_against
from fedbus.scalars import IDENT
from fedbus.training.options import LOWER_IS_BETTER, TRAINING_PREFIX, impossible_metric
from fedbus.wire.identifiers import BASE


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Name = Annotated[str, Field(pattern=f"^{IDENT}$")]
Id = Annotated[Name, BeforeValidator(_number_as_text)]


def default_quorum(agents: int) -> int:
    """Three quarters of the cohort, so that a straggler does not decide how long a round takes."""
    return max(1, math.ceil(0.75 * agents))


class TrainingConfig(JobFileObject):
    """How an agent trains in one round."""

    config_id: Label | None = Field(default=None, description="A label; it changes nothing.")
    batch_size: Annotated[int, Field(ge=1, le=1_000_000), NOT_A_FLAG] = 32
    steps_per_epoch: Annotated[int, Field(ge=1, le=100_000_000), NOT_A_FLAG] | None = Field(
        default=None, description="Batches in an epoch; all there are when left out."
    )
    epochs: Annotated[int, Field(ge=1, le=100_000), NOT_A_FLAG] = 1
    learning_rate: Annotated[float, Field(gt=0, le=1000), NOT_A_FLAG] | None = Field(
        default=None,
        description="optimizer_config.lr or .learning_rate goes before it; 0.01 without any.",
    )


class RoundSettings(JobFileObject):
    """Who takes part in a round and how long it waits. Ours."""

    agents: Annotated[int, Field(ge=1, le=MAX_COHORT_AGENTS), NOT_A_FLAG] = Field(
        default=2, description="Agents asked in each round."
    )
    quorum: Annotated[int, Field(ge=1, le=MAX_COHORT_AGENTS), NOT_A_FLAG] = Field(
        default_factory=lambda found: default_quorum(found["agents"]),
        description="Updates that make a round count at its deadline; 3/4 of agents, rounded up.",
    )
    deadline_seconds: Annotated[float, Field(ge=1, le=86_400), NOT_A_FLAG] = 600.0
    weighted: bool = Field(default=True, description="Whether an update weighs by its examples.")
    keep_optimizer_state: bool = Field(
        default=False,
        description="Whether each agent goes on with its own optimizer and scheduler of the round "
        "before; else both start afresh in every round.",
    )
    precision: Literal["full", "mixed"] = Field(
        default="full",
        description="`mixed` computes in bfloat16 on a GPU that has it; other devices, and tflite, "
        "train in full.",
    )


class TransformConfig(JobFileObject):
    """A step of a pipeline, as aerOS writes one."""

    id: Name = Field(description="A transform plug-in.")
    parameters: Parameters = Field(
        default={}, description="What it takes: numbers, text, flags, lists of numbers."
    )


class Plugins(JobFileObject):
    """The plug-ins a job chooses by name; whoever uses one must have and allow it. Ours."""

    aggregator: Name = "fedavg"
    selector: Name = "uniform"
    trainer: Name | None = Field(default=None, description="The agent's own choice when left out.")
    loader: Name | None = Field(
        default=None,
        description="What reads an agent's data; the agent's own choice when left out.",
    )
    transforms: Annotated[tuple[TransformConfig, ...], Field(max_length=MAX_TRANSFORMS)] = Field(
        default=(),
        description="What happens to rows after the agent's own pipeline, in this order.",
    )


ON_TRAINING_DATA = "no evaluator scored it, so the agents' own training data judged"


class JobFile(JobFileObject):
    """A job, as a person or an aerOS controller writes it."""

    training_id: Id | None = Field(
        default=None,
        description="The job's id; one is made when it is left out, and said in the answer. The "
        "same file again under the same id is the same job, however it is written.",
    )
    model_name: Name = Field(description="The model in the repository to improve.")
    model_version: Annotated[Label, BeforeValidator(_number_as_text)] | None = Field(
        default=None, description="A label; training starts from the latest version."
    )
    num_rounds: Annotated[int, Field(ge=1, le=100_000), NOT_A_FLAG]
    client_type_id: Label | None = Field(
        default=None,
        description="`base` is a trainer that fedbus ships, whatever an agent's own settings "
        "prefer; any other word is the agent's own choice, as without it.",
    )
    server_address: Label | None = Field(
        default=None, description="Changes nothing: there is no server, only the broker."
    )
    eval_metrics: Annotated[tuple[Word, ...], Field(max_length=32)] = Field(
        default=("accuracy",), description="None by default where the loss is a regression's."
    )
    eval_metrics_value: Real | None = Field(
        default=None, description="Only 0, none: stopping_target says which value of which metric."
    )
    eval_func: Word = Field(default="categorical_crossentropy", description="The loss.")
    num_classes: Annotated[int, Field(ge=1, le=1_000_000), NOT_A_FLAG] | None = Field(
        default=None, description="Describes the model, which knows it better; changes nothing."
    )
    shape: Annotated[
        tuple[Annotated[int, Field(ge=1, le=1_000_000_000), NOT_A_FLAG], ...], Field(max_length=8)
    ] = Field(
        default=(), description="Describes the model, which knows it better; changes nothing."
    )
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
        description="Metrics that end the job early: accuracy and its like at least, loss and "
        "errors at most. Judged by evaluators' held-out data; where no evaluator is online, by the "
        "agents' own training data, which the answer to the job file warns of.",
    )
    stopping_flag: bool | None = Field(
        default=None, description="false keeps stopping_target from ending the job."
    )
    round: RoundSettings = RoundSettings()
    plugins: Plugins = Plugins()

    @property
    def id(self) -> str:
        """The job's id, of a file that has one: `named` gives it to those that leave it out."""
        assert self.training_id is not None  # noqa: S101 - nobody runs a job without one
        return self.training_id

    def named(self, job: str) -> Self:
        """Return the same job under this id."""
        return self.model_copy(update={"training_id": job})

    @property
    def trainer(self) -> str | None:
        """The trainer it wants: by name, `BASE` for any of ours, None for the agent's choice."""
        return self.plugins.trainer or (BASE if self.client_type_id == BASE else None)

    @property
    def targets(self) -> Mapping[str, float]:
        """The thresholds that end this job; none when its flag is down."""
        return {} if self.stopping_flag is False else self.stopping_target

    def reached(self, metrics: Mapping[str, float], *, trained: bool = False) -> str | None:
        """Say which target these metrics reach, or None; one is enough, and it must be measured.

        With `trained` figures of the data that agents trained on count where there are no others. A
        share that cannot be true reaches nothing.
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
    ("plugins", "transforms"): TransformConfig,
    ("config",): TrainingConfig,
    ("optimizer_config",): OptimizerConfig,
    ("scheduler_config",): SchedulerConfig,
    ("scheduler_config", "schedulers"): SingleSchedulerConfig,
    ("warmup_config",): WarmupConfig,
    ("warmup_config", "scheduler_conf"): SchedulerConfig,
    ("warmup_config", "scheduler_conf", "schedulers"): SingleSchedulerConfig,
    ("privacy-mechanisms",): PrivacyMechanisms,
    ("privacy-mechanisms", "homomorphic"): Homomorphic,
    ("privacy-mechanisms", "dp-adaptive"): DpAdaptive,
}
"""The objects of a job file by their path; a hint names the first one that has a key."""

RENAMED_KEYS: Mapping[str, str] = {"round.keep_state": "round.keep_optimizer_state"}
"""Earlier names of keys, each with the present one; the fault of an earlier name states it."""
