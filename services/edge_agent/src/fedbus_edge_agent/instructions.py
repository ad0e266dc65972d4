"""What a trainer is told: of a controller's task, or of a round of a standalone job."""

from typing import Protocol

from fedbus.training import Chosen, Params, Warmup
from fedbus.wire.values import SchedulerParams, TrainingParams


class Training(Protocol):
    """A task, or a round."""

    @property
    def job(self) -> str:
        """Whose round it is."""

    @property
    def round(self) -> int:
        """The job's, 1 for the first."""

    @property
    def params(self) -> TrainingParams:
        """How to train."""

    @property
    def trainer(self) -> str | None:
        """The job's choice."""

    @property
    def seed(self) -> int:
        """All chance comes of it."""


def params_of(params: TrainingParams, seed: int, round: int = 1) -> Params:
    """Give a trainer what the job says."""
    warmup = params.warmup
    return Params(
        batch_size=params.batch_size,
        epochs=params.epochs,
        steps_per_epoch=params.steps_per_epoch,
        learning_rate=params.learning_rate,
        optimizer=params.optimizer,
        optimizer_args=params.optimizer_args,
        scheduler=_chosen(params.scheduler),
        warmup=None
        if warmup is None
        else Warmup(
            epochs=warmup.epochs,
            iters=warmup.iters,
            factor=warmup.factor,
            scheduler=_chosen(warmup.scheduler),
        ),
        precision=params.precision,
        loss=params.loss,
        metrics=params.metrics,
        round=round,
        seed=seed,
        keep_state=params.keep_state,
    )


def _chosen(scheduler: SchedulerParams | None) -> Chosen | None:
    if scheduler is None:
        return None
    parts = tuple(Chosen(part.name, part.args) for part in scheduler.parts)
    return Chosen(scheduler.name, scheduler.args, parts)
