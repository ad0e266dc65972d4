"""Conversion of a job file to training parameters."""

from dataclasses import fields
from typing import Any, Final

from fedbus.jobs.options import (
    OptimizerConfig,
    SchedulerConfig,
    SingleSchedulerConfig,
    WarmupConfig,
)
from fedbus.jobs.plugin_options import ChoiceConfig, Plugins
from fedbus.jobs.privacy_options import DpSgd
from fedbus.jobs.schema import JobFile, RoundSettings, TrainingConfig
from fedbus.training.options import REGRESSIONS
from fedbus.training.params import (
    Argument,
    DataOverrides,
    DpSgdParams,
    PluginChoice,
    SchedulerParams,
    SchedulerPart,
    TrainingParams,
    WarmupParams,
)

LEARNING_RATE: Final = 0.01
"""Default of the learning rate."""

_PARAMETERS: Final = frozenset(field.name for field in fields(TrainingParams))

_NO_ARGUMENTS: Final = frozenset({"optimizer", "lr", "learning_rate", "name"})
_NO_ARGUMENTS_OF_SCHEDULERS: Final = frozenset({"scheduler", "schedulers", "verbose"})
FACTOR_RULE: Final = frozenset({None, "lambdalr"})
"""Schedulers of a warm-up that, without `lr_lambda`, mean the factor rule."""


def training_params_of(job: JobFile) -> TrainingParams:
    """Return the training parameters; metrics of stopping targets are always measured.

    A key of `config` or `round` with the name of a field of `TrainingParams` sets that field: a new
    one needs no line here.

    aerOS's own files have two different learning rates. aerOS passes that of `optimizer_config` to
    the optimizer, so it takes precedence over that of `config`.
    """
    config = job.config[0] if job.config else TrainingConfig()
    optimizer = job.optimizer_config
    rates = (optimizer.lr, optimizer.learning_rate, config.learning_rate, LEARNING_RATE)
    unasked = job.eval_func in REGRESSIONS and "eval_metrics" not in job.model_fields_set
    metrics = () if unasked else job.eval_metrics
    learning_rate = next(rate for rate in rates if rate is not None)
    return TrainingParams(
        **_same_keys(config) | _same_keys(job.round) | {"learning_rate": learning_rate},
        optimizer=optimizer.optimizer,
        optimizer_args=_set(optimizer, _NO_ARGUMENTS),
        scheduler=_scheduler(job.scheduler_config),
        warmup=_warmup(job.warmup_config),
        loss=job.eval_func,
        metrics=tuple(dict.fromkeys((*metrics, *job.targets))),
        data_overrides=_data_overrides(job.plugins),
        dp_sgd=_dp_sgd(job.privacy_mechanisms.dp_sgd),
    )


def _same_keys(config: TrainingConfig | RoundSettings) -> dict[str, Any]:
    """Return the values of the keys that are training parameters of the same name."""
    return {name: getattr(config, name) for name in config.names() if name in _PARAMETERS}


def arguments_of(config: SingleSchedulerConfig) -> dict[str, Argument]:
    """Return the arguments that are set; `val_` metrics become training metrics: see `monitor`."""
    found = _set(config, _NO_ARGUMENTS_OF_SCHEDULERS)
    if config.monitor is not None:
        found["monitor"] = config.monitor.removeprefix("val_")
    return found


def _scheduler(config: SchedulerConfig, name: str | None = None) -> SchedulerParams | None:
    name = config.scheduler or name
    if name is None:
        return None
    parts = tuple(
        SchedulerPart(name=part.scheduler or "", args=arguments_of(part))
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


def choice_of(config: ChoiceConfig) -> PluginChoice:
    """Return a choice as messages have it."""
    return PluginChoice(id=config.id, parameters=config.parameters)


def transforms_of(plugins: Plugins) -> tuple[PluginChoice, ...]:
    """Return the transforms that a job chooses."""
    return tuple(map(choice_of, plugins.transforms))


def _dp_sgd(config: DpSgd | None) -> DpSgdParams | None:
    return None if config is None else DpSgdParams(**config.model_dump())


def _data_overrides(plugins: Plugins) -> DataOverrides | None:
    if plugins.loader is None and not plugins.transforms:
        return None
    return DataOverrides(loader=plugins.loader, transforms=transforms_of(plugins))


def _set(
    config: OptimizerConfig | SingleSchedulerConfig, apart: frozenset[str]
) -> dict[str, Argument]:
    every = ((name, getattr(config, name)) for name in config.names())
    return {name: value for name, value in every if value is not None and name not in apart}
