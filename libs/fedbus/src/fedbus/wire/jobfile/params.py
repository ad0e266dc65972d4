"""What an agent is told of a job: the parameters of its training, in plain types."""

from typing import Final

from fedbus.catalogue import REGRESSIONS
from fedbus.wire.jobfile.model import JobFile, Plugins, TrainingConfig
from fedbus.wire.jobfile.options import (
    OptimizerConfig,
    SchedulerConfig,
    SchedulerPart,
    WarmupConfig,
)
from fedbus.wire.values import (
    Arguments,
    Reading,
    SchedulerParams,
    TrainingParams,
    TransformParams,
    WarmupParams,
)
from fedbus.wire.values import SchedulerPart as PartParams

LEARNING_RATE: Final = 0.01
"""Where a job gives none."""

_NO_ARGUMENTS: Final = frozenset({"optimizer", "lr", "learning_rate", "name"})
_NO_ARGUMENTS_OF_SCHEDULERS: Final = frozenset({"scheduler", "schedulers", "verbose"})
FACTOR_RULE: Final = frozenset({None, "lambdalr"})
"""What warm-up may name as its scheduler, without a `lr_lambda`, to have the factor rule."""


def params(job: JobFile) -> TrainingParams:
    """Gather the training parameters; a metric that a target names is measured in any case.

    aerOS's own files give a learning rate twice and not the same. The optimizer's is what aerOS
    hands to the optimizer, so it goes before that of `config`.
    """
    config = job.config[0] if job.config else TrainingConfig()
    optimizer = job.optimizer_config
    rates = (optimizer.lr, optimizer.learning_rate, config.learning_rate, LEARNING_RATE)
    unasked = job.eval_func in REGRESSIONS and "eval_metrics" not in job.model_fields_set
    metrics = () if unasked else job.eval_metrics
    return TrainingParams(
        batch_size=config.batch_size,
        epochs=config.epochs,
        steps_per_epoch=config.steps_per_epoch,
        learning_rate=next(rate for rate in rates if rate is not None),
        optimizer=optimizer.optimizer,
        optimizer_args=_set(optimizer, _NO_ARGUMENTS),
        scheduler=_scheduler(job.scheduler_config),
        warmup=_warmup(job.warmup_config),
        precision=job.round.precision,
        keep_state=job.round.keep_state,
        loss=job.eval_func,
        metrics=tuple(dict.fromkeys((*metrics, *job.targets))),
        reading=_reading(job.plugins),
    )


def arguments_of(config: SchedulerPart) -> Arguments:
    """Return the arguments that are set; an agent that trains on all its rows validates on none."""
    found = _set(config, _NO_ARGUMENTS_OF_SCHEDULERS)
    if config.monitor is not None:
        found["monitor"] = config.monitor.removeprefix("val_")
    return found


def _scheduler(config: SchedulerConfig, name: str | None = None) -> SchedulerParams | None:
    name = config.scheduler or name
    if name is None:
        return None
    parts = tuple(
        PartParams(name=part.scheduler or "", args=arguments_of(part))
        for part in config.schedulers or ()
    )
    return SchedulerParams(name=name, args=arguments_of(config), parts=parts)


def _warmup(config: WarmupConfig) -> WarmupParams | None:
    if not config.warmup_epochs:
        return None
    by_rule = config.scheduler in FACTOR_RULE and config.scheduler_conf.lr_lambda is None
    return WarmupParams(
        epochs=config.warmup_epochs,
        iters=config.warmup_iters or 1,
        factor=config.warmup_factor or 1.0,
        scheduler=None if by_rule else _scheduler(config.scheduler_conf, config.scheduler),
    )


def steps_of(plugins: Plugins) -> tuple[TransformParams, ...]:
    """Gather the transforms a job chooses."""
    return tuple(TransformParams(id=s.id, parameters=s.parameters) for s in plugins.transforms)


def _reading(plugins: Plugins) -> Reading | None:
    if plugins.loader is None and not plugins.transforms:
        return None
    return Reading(loader=plugins.loader, transforms=steps_of(plugins))


def _set(config: OptimizerConfig | SchedulerPart, apart: frozenset[str]) -> Arguments:
    every = ((name, getattr(config, name)) for name in config.names())
    return {name: value for name, value in every if value is not None and name not in apart}
