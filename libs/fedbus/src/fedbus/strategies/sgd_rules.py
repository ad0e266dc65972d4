"""Combinations of a strategy that holds for SGD only with other local training. Pure."""

from collections.abc import Collection, Iterator
from typing import Final

from fedbus.jobs import JobFault, JobFile
from fedbus.strategies.resolution import ResolvedStrategy
from fedbus.wire.job_faults import show

_HARMLESS: Final = frozenset({"foreach", "jit_compile", "name"})
"""Arguments of optimizers that change how a step is computed, and not the step."""
_HARMLESS_CALLBACKS: Final = frozenset({"terminateonnan"})


def sgd_rule_faults(job: JobFile, resolved: ResolvedStrategy) -> Iterator[JobFault]:
    """Yield faults of local training that the formula of a part does not describe."""
    strategy = resolved.strategy.id
    if (resolved.objective or {}).get("needs_plain_sgd", False):
        yield from _other_than_sgd(job, strategy, "without momentum", ())
    if resolved.aggregator.get("needs_sgd"):
        allowed = ("momentum", "weight_decay")
        yield from _other_than_sgd(job, strategy, "with or without momentum", allowed)


def _other_than_sgd(
    job: JobFile, strategy: str, kind: str, allowed: Collection[str]
) -> Iterator[JobFault]:
    holds = f"{strategy} holds for SGD {kind} and with a constant learning rate"
    optimizer = job.optimizer_config
    if optimizer.optimizer != "sgd":
        yield JobFault(
            key="optimizer_config.optimizer",
            problem=f"'{optimizer.optimizer}', but {holds}",
            hint="choose sgd, or a strategy for any optimizer of agents, such as fedadam",
        )
        return
    arguments = set(optimizer.names()) - _HARMLESS - {"optimizer", "lr", "learning_rate", *allowed}
    for name in sorted(arguments):
        if value := getattr(optimizer, name):
            yield JobFault(
                key=f"optimizer_config.{name}",
                problem=f"{show(value)}, but {holds}",
                hint="leave it out",
            )
    scheduler = job.scheduler_config.scheduler
    if scheduler is not None and scheduler not in _HARMLESS_CALLBACKS:
        yield JobFault(
            key="scheduler_config.scheduler",
            problem=f"'{scheduler}', but {holds}",
            hint="leave it out",
        )
    if job.warmup_config.warmup_epochs:
        yield JobFault(
            key="warmup_config.warmup_epochs", problem=f"given, but {holds}", hint="0 is none"
        )
    if job.round.keep_optimizer_state:
        yield JobFault(
            key="round.keep_optimizer_state",
            problem=f"true, but in {strategy} each round begins with a new optimizer",
            hint="leave it out",
        )
