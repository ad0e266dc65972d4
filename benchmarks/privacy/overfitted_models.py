"""Small models that learn few digits by heart, with DP-SGD or without, and attacks on them.

Each model is trained on a random half of the same rows, from the same initial weights. The attacker
knows the rows, the initial weights and all parameters, and asks which half it was. Labels are
drawn at random if `memorized`: a model can then only learn them by heart, as it does with rows that
have a wrong label or are like no other.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from benchmarks.privacy.membership import (
    AttackResult,
    attack_result,
    auc_bound,
    excess,
    likelihood_ratios,
    log_odds,
)
from benchmarks.privacy.private_settings import DELTA
from fedbus.data import from_arrays
from fedbus.data.digits import digits
from fedbus.frameworks.torch import TorchTrainer
from fedbus.jobs import parse, training_params_of
from fedbus.privacy.calibration import noise_multiplier_for
from fedbus.privacy.secret_noise import EphemeralNoise
from fedbus.strategies.combinations import strategy_faults
from fedbus.strategies.resolution import resolve_job

_CLASSES: Final = 10
_ARCHITECTURE: Final = {"name": "mlp", "config": {"layers": [64, 64, 10], "seed": 0}}


@dataclass(frozen=True, slots=True, kw_only=True)
class OverfittedModels:
    """How models are trained.

    Attributes:
        epsilon: Of DP-SGD, for one example; None: trained without.
        noise: False: DP-SGD as for `epsilon` but without its noise, to see what the noise does.
        memorized: Whether labels are drawn at random.
        rows: Of which each model has half.
    """

    name: str
    epsilon: float | None = None
    noise: bool = True
    memorized: bool = False
    rows: int = 100
    epochs: int = 150
    learning_rate: float = 0.5
    batch_size: int = 50

    def job(self, multiplier: float) -> bytes:
        """Return the job of one round for one agent that has half of the rows."""
        job: dict[str, Any] = {
            "training_id": "overfitted",
            "model_name": "digits",
            "num_rounds": 1,
            "config": [
                {
                    "batch_size": self.batch_size,
                    "epochs": self.epochs,
                    "learning_rate": self.learning_rate,
                }
            ],
            "optimizer_config": {"optimizer": "sgd"},
            "round": {"agents": 1, "quorum": 1},
        }
        if self.epsilon is not None:
            dp_sgd = {"noise_multiplier": multiplier, "least_examples": self.rows // 2}
            job["privacy-mechanisms"] = {"dp-sgd": dp_sgd, "accounting": {"delta": DELTA}}
        return json.dumps(job).encode()

    def multiplier(self) -> float:
        """Return the noise multiplier: the least for ε; next to nothing without noise."""
        if self.epsilon is None or not self.noise:
            return 1e-6
        terms = resolve_job(parse(self.job(1.0), strategy_faults)).privacy
        if terms is None:
            raise ValueError("expected a job with a mechanism")
        return noise_multiplier_for(terms, self.epsilon, rounds=1, participations=1)


_PRIVATE: Final[dict[str, Any]] = {"epsilon": 2.0, "epochs": 30, "learning_rate": 2.0}
_MANY: Final[dict[str, Any]] = {"rows": 1000, "batch_size": 100}
MODELS: Final = (
    OverfittedModels(name="50 rows, true labels, no privacy"),
    OverfittedModels(name="50 rows, true labels, dp-sgd", **_PRIVATE),
    OverfittedModels(name="50 rows, random labels, no privacy", memorized=True),
    OverfittedModels(
        name="50 rows, random labels, dp-sgd without its noise",
        **_PRIVATE,
        noise=False,
        memorized=True,
    ),
    OverfittedModels(name="50 rows, random labels, dp-sgd", **_PRIVATE, memorized=True),
    OverfittedModels(name="500 rows, true labels, no privacy", **_MANY, epochs=60),
    OverfittedModels(
        name="500 rows, true labels, dp-sgd", **_MANY, epsilon=2.0, epochs=8, learning_rate=1.0
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackedModels:
    """Both attacks on models that were trained in the same way.

    Attributes:
        trained: Accuracy on the rows that a model was trained on.
        held_out: Accuracy on other rows.
        bound: The greatest area of any attack at this ε; None without DP-SGD.
        excess: The most by which true positives of the likelihood ratio attack exceed the bound.
    """

    name: str
    epsilon: float | None
    noise_multiplier: float
    trained: float
    held_out: float
    loss: AttackResult
    likelihood: AttackResult
    bound: float | None
    excess: float | None

    def plain(self) -> dict[str, Any]:
        """Return what JSON holds, rounded."""
        return {
            "name": self.name,
            "epsilon": self.epsilon,
            "noise_multiplier": self.noise_multiplier,
            "trained": round(self.trained, 4),
            "held_out": round(self.held_out, 4),
            "loss": self.loss.plain(),
            "likelihood": self.likelihood.plain(),
            "bound": None if self.bound is None else round(self.bound, 4),
            "excess": None if self.excess is None else round(self.excess, 4),
        }


def attacked_models(kind: OverfittedModels, models: int) -> AttackedModels:
    """Train as many models, and attack each."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    x, y = digits()
    order = rng.permutation(len(x))
    x, y = x[order], y[order]
    rows = kind.rows
    own_x, own_y = x[:rows], y[:rows]
    if kind.memorized:
        own_y = rng.integers(_CLASSES, size=rows)
    multiplier = kind.multiplier()
    params = training_params_of(parse(kind.job(multiplier), strategy_faults))
    trainer = TorchTrainer(_ARCHITECTURE)
    trainer.noise = EphemeralNoise(rng.bytes)
    base = trainer.initial()
    answers = np.empty((models, rows))
    members = np.zeros((models, rows), bool)
    trained, held_out = [], []
    for number in range(models):
        members[number, rng.permutation(rows)[: rows // 2]] = True
        chosen = members[number]
        made = trainer.train(base, from_arrays(own_x[chosen], own_y[chosen]), params).weights
        odds = log_odds(made, own_x, own_y)
        answers[number] = odds.answers
        trained.append(odds.right[chosen].mean())
        held_out.append(log_odds(made, x[rows:], y[rows:]).right.mean())
    epsilon, ratios = kind.epsilon, likelihood_ratios(answers, members)
    return AttackedModels(
        name=kind.name,
        epsilon=epsilon,
        noise_multiplier=0.0 if epsilon is None or not kind.noise else multiplier,
        trained=float(np.mean(trained)),
        held_out=float(np.mean(held_out)),
        loss=attack_result(answers, members),
        likelihood=attack_result(ratios, members),
        bound=None if epsilon is None else auc_bound(epsilon, DELTA),
        excess=None
        if epsilon is None
        else excess(ratios[members], ratios[~members], epsilon, DELTA),
    )
