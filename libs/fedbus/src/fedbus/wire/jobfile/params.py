"""What an agent is told of a job: the parameters of its training, in plain types."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, Strict

from fedbus.wire.jobfile.model import JobFile, TrainingConfig
from fedbus.wire.values import Text


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingParams:
    """How to train, and what to measure; `steps_per_epoch` None is every batch there is."""

    batch_size: Annotated[int, Strict(), Field(ge=1, le=1_000_000)] = 32
    epochs: Annotated[int, Strict(), Field(ge=1, le=100_000)] = 1
    steps_per_epoch: Annotated[int, Strict(), Field(ge=1, le=100_000_000)] | None = None
    learning_rate: Annotated[float, Strict(), Field(gt=0, le=1000, allow_inf_nan=False)] = 0.01
    optimizer: Text = "sgd"
    loss: Text = "categorical_crossentropy"
    metrics: Annotated[tuple[Text, ...], Field(max_length=64)] = ("accuracy",)


def params(job: JobFile) -> TrainingParams:
    """Gather the training parameters; a metric that a target names is measured in any case."""
    config = job.config[0] if job.config else TrainingConfig()
    optimizer = job.optimizer_config
    rates = (config.learning_rate, optimizer.lr, optimizer.learning_rate)
    return TrainingParams(
        batch_size=config.batch_size,
        epochs=config.epochs,
        steps_per_epoch=config.steps_per_epoch,
        learning_rate=next((rate for rate in rates if rate is not None), 0.01),
        optimizer=optimizer.optimizer,
        loss=job.eval_func,
        metrics=tuple(dict.fromkeys((*job.eval_metrics, *job.targets))),
    )
