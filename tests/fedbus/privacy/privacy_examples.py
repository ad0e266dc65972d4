"""Terms and ledger entries for tests, with a default for every field."""

from typing import Any

from fedbus.training.params import PluginChoice
from fedbus.wire.privacy import LedgerEntry, PrivacyTerms
from fedbus.wire.strategies import Strategy

MECHANISM = PluginChoice(id="dp-fixed", parameters={"noise_multiplier": 1.0, "clipping_norm": 1.0})
STRATEGY = Strategy(id="fedavg", aggregator=PluginChoice(id="mean"), update_transforms=(MECHANISM,))


def terms(**given: Any) -> PrivacyTerms:  # noqa: ANN401 - fields of any type
    """Return the terms of a job with fixed cohorts of two agents, changed by `given`."""
    defaults: dict[str, Any] = {
        "mechanism": "dp-fixed",
        "release": "gaussian",
        "noise_multiplier": 1.0,
        "delta": 1e-5,
        "cohort": 2,
    }
    return PrivacyTerms(**{**defaults, **given})


def entry(task: int, *agents: int, multiplier: float = 1.0, updates: str = "a") -> LedgerEntry:
    """Return the entry of a task, with the agents of these numbers; "": the agents drew noise."""
    return LedgerEntry(
        job="j",
        round=task,
        task=task,
        agents=tuple(f"agent.{number}" for number in agents),
        updates=updates * 64 or None,
        noise_multiplier=multiplier,
    )
