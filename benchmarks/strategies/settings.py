"""Settings of an experiment, and the job file of a strategy in one. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.strategies.attacks import Attack


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all strategies of an experiment have in common.

    Attributes:
        split: How the rows are partitioned among `agents`.
        cohort: Agents that train in each round, drawn at random.
        epochs: Passes of an agent over its data in a round: from, to; drawn by each agent.
        momentum: Of the agents' SGD.
    """

    data: str
    split: str
    agents: int = 10
    cohort: int = 10
    epochs: tuple[int, int] = (5, 5)
    rounds: int = 30
    batch_size: int = 32
    momentum: float = 0.0
    attack: Attack = field(default_factory=Attack)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A strategy with its parameters, and the learning rate of the agents."""

    strategy: str
    learning_rate: float
    parameters: Mapping[str, Any] = field(default_factory=dict)


def job_file(setting: Setting, candidate: Candidate) -> bytes:
    """Return the job that a user would submit."""
    population = {}
    if candidate.strategy in {"scaffold", "feddyn"}:
        population = {"population": setting.agents}
    return json.dumps(
        {
            "training_id": f"{setting.data}-{candidate.strategy}",
            "model_name": setting.data,
            "model_version": "v1",
            "num_rounds": setting.rounds,
            "eval_metrics": ["accuracy"],
            "eval_func": "categorical_crossentropy",
            "config": [
                {
                    "config_id": "default",
                    "batch_size": setting.batch_size,
                    "epochs": setting.epochs[1],
                    "learning_rate": candidate.learning_rate,
                }
            ],
            "optimizer_config": {
                "optimizer": "sgd",
                **({"momentum": setting.momentum} if setting.momentum else {}),
            },
            "round": {
                "agents": setting.cohort,
                "quorum": setting.cohort,
                "deadline_seconds": 60,
            },
            "strategy": {
                "id": candidate.strategy,
                "parameters": dict(candidate.parameters),
                **population,
            },
        }
    ).encode()
