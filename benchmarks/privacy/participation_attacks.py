"""Attacks that ask whether one agent took part in a job, given its last version.

The agent has rows that no other agent is like: all have a wrong label. The attacker knows its rows,
and compares how well the version predicts their labels with versions of jobs without the agent.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from benchmarks.privacy.membership import AttackResult, attack_result, auc_bound, log_odds
from benchmarks.privacy.private_rounds import PrivateRounds, with_epsilon
from benchmarks.privacy.private_settings import (
    DELTA,
    PrivateCandidate,
    PrivateMechanism,
    PrivateSetting,
)
from benchmarks.strategies import agent_networks
from benchmarks.strategies.real_data import Partitioned, partitioned

SETTING: Final = PrivateSetting(
    data="digits", widths=(64, 32, 10), agents=100, cohort=50, rounds=10, epochs=5
)
EPSILONS: Final = (None, 8.0, 2.0)
_CANDIDATE: Final = PrivateCandidate(learning_rate=0.3, clipping_norm=1.0)
_ABSENT: Final = 0
_CLASSES: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackedParticipation:
    """The attack at an ε; None: without privacy."""

    epsilon: float | None
    accuracy: float
    result: AttackResult
    bound: float | None

    def plain(self) -> dict[str, Any]:
        """Return what JSON holds, rounded."""
        return {
            "epsilon": self.epsilon,
            "accuracy": round(self.accuracy, 4),
            **self.result.plain(),
            "bound": None if self.bound is None else round(self.bound, 4),
        }


def attacked_participation(
    epsilon: float | None, trials: int, setting: PrivateSetting = SETTING
) -> AttackedParticipation:
    """Run jobs with the agent and without it, and attack their last versions."""
    mechanism = PrivateMechanism()
    if epsilon is not None:
        poisson = PrivateMechanism(key="dp-fixed", poisson=True)
        mechanism = with_epsilon(setting, poisson, epsilon)
    data = _with_wrong_labels(setting)
    rows = data.agents[_ABSENT]
    initial = agent_networks.initial_weights(setting.widths, np.random.default_rng(0))
    scores, accuracies = np.empty((trials, 2)), []
    for trial in range(trials):
        for present in (False, True):
            absent = () if present else (_ABSENT,)
            seed = 2 * trial + present
            rounds = PrivateRounds(setting, mechanism, _CANDIDATE, seed, data=data, absent=absent)
            rounds.weights = initial
            accuracies.append(rounds.run()[-1])
            known = log_odds(rounds.weights, data.x[rows], data.y[rows])
            scores[trial, int(present)] = known.answers.mean()
    return AttackedParticipation(
        epsilon=epsilon,
        accuracy=float(np.mean(accuracies)),
        result=attack_result(scores, np.tile([False, True], (trials, 1))),
        bound=None if epsilon is None else auc_bound(epsilon, DELTA),
    )


def _with_wrong_labels(setting: PrivateSetting) -> Partitioned:
    data = partitioned(
        setting.data, "iid", setting.agents, setting.batch_size, seed=0, tuning=False
    )
    y = data.y.copy()
    y[data.agents[_ABSENT]] = (y[data.agents[_ABSENT]] + 1) % _CLASSES
    return replace(data, y=y)
