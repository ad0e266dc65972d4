"""Rounds of a job with DP-SGD in one process: a few agents with many examples each, in PyTorch.

All agents take part in each round. Their noise, which no seed tells in a job, is drawn from the
seed here, so that figures can be repeated.
"""

import json
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch

from benchmarks.privacy.private_settings import DELTA, PrivateCandidate
from benchmarks.strategies.real_data import partitioned
from fedbus.data import from_arrays
from fedbus.frameworks.torch import TorchTrainer
from fedbus.jobs import JobFile, parse, training_params_of
from fedbus.privacy.accounting import epsilon_of
from fedbus.privacy.calibration import noise_multiplier_for
from fedbus.privacy.ledger import planned_composition
from fedbus.privacy.secret_noise import EphemeralNoise
from fedbus.strategies.combinations import strategy_faults
from fedbus.strategies.resolution import resolve_job
from fedbus.wire.privacy import PrivacyTerms

_ANY: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleSetting:
    """Conditions of a job with DP-SGD.

    Attributes:
        least_examples: Of an agent; ε holds for each that has as many.
        batch_size: Examples that a step draws on average, of `least_examples`.
    """

    data: str
    widths: tuple[int, ...]
    agents: int = 5
    rounds: int = 10
    epochs: int = 4
    least_examples: int = 225
    batch_size: int = 45


def example_job(setting: ExampleSetting, noise: float, candidate: PrivateCandidate) -> JobFile:
    """Return the job that a user would submit; without noise it has no mechanism."""
    job: dict[str, Any] = {
        "training_id": f"{setting.data}-dp-sgd",
        "model_name": setting.data,
        "num_rounds": setting.rounds,
        "eval_metrics": ["accuracy"],
        "eval_func": "categorical_crossentropy",
        "config": [
            {
                "batch_size": setting.batch_size,
                "epochs": setting.epochs,
                "learning_rate": candidate.learning_rate,
            }
        ],
        "optimizer_config": {"optimizer": "sgd"},
        "round": {"agents": setting.agents, "quorum": setting.agents},
        "strategy": {"id": "fedavg"},
    }
    if noise:
        dp_sgd = {
            "noise_multiplier": noise,
            "max_grad_norm": candidate.clipping_norm,
            "least_examples": setting.least_examples,
        }
        job["privacy-mechanisms"] = {"dp-sgd": dp_sgd, "accounting": {"delta": DELTA}}
    return parse(json.dumps(job).encode(), strategy_faults)


def example_noise(setting: ExampleSetting, epsilon: float) -> float:
    """Return the least noise multiplier for which the whole job has at most this ε."""
    terms = _terms(setting, _ANY)
    rounds = setting.rounds
    return noise_multiplier_for(terms, epsilon, rounds=rounds, participations=rounds)


def _terms(setting: ExampleSetting, noise: float) -> PrivacyTerms:
    job = example_job(setting, noise, PrivateCandidate(learning_rate=0.1))
    terms = resolve_job(job).privacy
    if terms is None:
        raise ValueError("expected a job with a mechanism")
    return terms


class PrivateExamples:
    """A model, and agents that train it with DP-SGD; without noise they train plainly."""

    def __init__(
        self,
        setting: ExampleSetting,
        noise: float,
        candidate: PrivateCandidate,
        seed: int,
        *,
        tuning: bool = False,
    ) -> None:
        torch.set_num_threads(1)
        self._setting, self._noise, self._seed = setting, noise, seed
        self._params = training_params_of(example_job(setting, noise, candidate))
        self._data = partitioned(
            setting.data, "iid", setting.agents, setting.least_examples, seed, tuning=tuning
        )
        config = {"layers": list(setting.widths), "seed": seed}
        self._trainer = TorchTrainer({"name": "mlp", "config": config})
        rng = np.random.default_rng([seed, 1])
        self._trainer.noise = EphemeralNoise(rng.bytes)
        self.weights = self._trainer.initial()

    def run(self) -> list[float]:
        """Run all rounds; return the accuracy after each, on rows that no agent has."""
        found = []
        for number in range(1, self._setting.rounds + 1):
            self._run_round(number)
            found.append(self.accuracy())
        return found

    def accuracy(self) -> float:
        """Return the share of the held-out rows whose class is predicted."""
        data = from_arrays(self._data.test_x, self._data.test_y)
        return float(self._trainer.evaluate(self.weights, data, self._params)["accuracy"])

    def epsilon(self) -> float | None:
        """Return the ε of all rounds for each example; None without noise."""
        if not self._noise:
            return None
        terms, rounds = _terms(self._setting, self._noise), self._setting.rounds
        return epsilon_of(terms, planned_composition(terms, rounds, rounds))

    def _run_round(self, number: int) -> None:
        base = self.weights
        new = dict(base)
        for agent, rows in enumerate(self._data.agents):
            data = from_arrays(self._data.x[rows], self._data.y[rows])
            seed = (self._seed * 1000 + number) * 1000 + agent
            params = replace(self._params, seed=seed)
            made = self._trainer.train(base, data, params).weights
            for name, array in made.items():
                new[name] = new[name] + (array - base[name]) / self._setting.agents
        self.weights = new
