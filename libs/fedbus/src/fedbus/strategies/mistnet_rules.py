"""Combinations of MistNet with a job's strategy and training that cannot work. Pure.

The layers before the cut must stay those that computed the features. So nothing may change an
update but the training of the layers after it.
"""

from collections.abc import Iterator
from typing import Final

from fedbus.jobs import JobFault, JobFile
from fedbus.jobs.privacy_consistency import ACCOUNTING, PRIVACY
from fedbus.strategies.privacy_terms import AVERAGING
from fedbus.strategies.resolution import ResolvedStrategy
from fedbus.wire.features import MAX_FEATURE_AGENTS

MISTNET: Final = "mistnet"
"""The mechanism's key in `privacy-mechanisms`."""
_FRAMEWORK: Final = "torch"


def mistnet_faults(job: JobFile, resolved: ResolvedStrategy) -> Iterator[JobFault]:
    """Yield a fault for each part of the job that MistNet cannot work with."""
    strategy = resolved.strategy
    parts = {
        "strategy": None if strategy.aggregator.id == AVERAGING else strategy.aggregator,
        "strategy.server_optimizer": strategy.server_optimizer,
        "strategy.objective": strategy.objective,
        "strategy.update_transforms": next(iter(strategy.update_transforms), None),
    }
    for key, part in parts.items():
        if part is not None:
            yield JobFault(
                key=key,
                problem=f"'{part.id}', but with {MISTNET} one agent trains, and nothing else may "
                "change its update",
                hint="leave it out: the strategy is fedavg",
            )
    if job.plugins.trainer not in {None, _FRAMEWORK}:
        yield JobFault(
            key="plugins.trainer",
            problem=f"'{job.plugins.trainer}', but only {_FRAMEWORK} cuts a model, which {MISTNET} "
            "needs",
            hint=f"choose {_FRAMEWORK}",
        )
    accounting = job.privacy_mechanisms.accounting
    if accounting is not None and accounting.delta is not None:
        yield JobFault(
            key=f"{ACCOUNTING}.delta",
            problem=f"{accounting.delta:g}, but the ε of {MISTNET} holds with δ 0",
            hint="leave it out",
        )
    if job.round.agents > MAX_FEATURE_AGENTS:
        yield JobFault(
            key="round.agents",
            problem=f"expected at most {MAX_FEATURE_AGENTS} with {PRIVACY}.{MISTNET}, got "
            f"{job.round.agents}",
        )
