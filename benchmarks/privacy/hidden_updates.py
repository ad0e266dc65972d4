"""Accuracy of jobs whose updates are encrypted or masked, by all services in one process.

Each job is beside the same one with plain updates: same seed, rows and initial weights. Batches are
the same, too, as long as both need as many messages; noise is never the same twice.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

import torch

from benchmarks.privacy.private_rounds import with_epsilon
from benchmarks.privacy.private_settings import (
    PrivateCandidate,
    PrivateMechanism,
    PrivateSetting,
    private_job,
)
from benchmarks.strategies.real_data import partitioned
from fedbus.data import from_arrays
from fedbus.frameworks.torch import TorchTrainer
from fedbus.simulation.run import model_of, simulate

PLAIN: Final = "plain"
HIDINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    PLAIN: {},
    "BFV, 11 bits": {"homomorphic": {"scheme": "bfv", "bits": 11}},
    "BFV, 16 bits": {"homomorphic": {"scheme": "bfv", "bits": 16}},
    "CKKS": {"homomorphic": {"scheme": "ckks"}},
    "masks, 16 bits": {"secure-aggregation": {"bits": 16}},
}
"""What hides the updates, as a job file says it."""
NO_NOISE: Final = PrivateMechanism()
NOISED: Final = (PLAIN, "BFV, 11 bits", "masks, 16 bits")
"""What is measured with noise of agents, too."""
AGENTS_NOISE: Final = PrivateMechanism(key="dp-fixed")
"""Fixed cohorts whose agents draw the noise, as encrypted jobs must have it."""
EPSILON: Final = 8.0
SETTINGS: Final[Mapping[bool, PrivateSetting]] = {
    False: PrivateSetting(
        data="digits", widths=(64, 32, 10), agents=5, cohort=5, rounds=20, batch_size=16, epochs=1
    ),
    True: PrivateSetting(data="digits", widths=(64, 32, 10), agents=100, cohort=50, rounds=12),
}
"""The setting of jobs without noise and with it."""
CANDIDATES: Final[Mapping[bool, PrivateCandidate]] = {
    False: PrivateCandidate(learning_rate=0.1),
    True: PrivateCandidate(learning_rate=0.3, clipping_norm=1.0),
}
SEEDS: Final = (0, 1, 2)
LAST_ROUNDS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenAccuracy:
    """What a job reaches with hidden updates.

    Attributes:
        hiding: A name of `HIDINGS`.
        noise: Whether agents add noise, for an ε of `EPSILON` in all rounds.
        epsilon: What the ledger adds up to, the greatest of all seeds.
        final: The accuracy of each seed: the mean of the last rounds.
    """

    hiding: str
    noise: bool
    epsilon: float | None
    final: tuple[float, ...]

    def plain(self) -> dict[str, Any]:
        """Return what JSON holds, rounded."""
        return {
            "hiding": self.hiding,
            "noise": self.noise,
            "epsilon": self.epsilon,
            "final": [round(each, 4) for each in self.final],
        }


def hidden_tasks() -> Iterator[tuple[str, bool]]:
    """Yield all lines of the table: what hides updates, and whether there is noise."""
    yield from ((hiding, False) for hiding in HIDINGS)
    yield from ((hiding, True) for hiding in NOISED)


def hidden_accuracy(hiding: str, noise: bool) -> HiddenAccuracy:  # noqa: FBT001 - a row's cells
    """Run a job with each seed."""
    runs = [accuracies_of(hiding, seed, noise=noise) for seed in SEEDS]
    spent = [epsilon for _, epsilon in runs if epsilon is not None]
    return HiddenAccuracy(
        hiding=hiding,
        noise=noise,
        epsilon=max(spent, default=None),
        final=tuple(fmean(found[-LAST_ROUNDS:]) for found, _ in runs),
    )


def accuracies_of(hiding: str, seed: int, *, noise: bool) -> tuple[list[float], float | None]:
    """Return the accuracy after each round, and the job's ε."""
    torch.set_num_threads(1)
    setting = SETTINGS[noise]
    data = partitioned(setting.data, "iid", setting.agents, setting.batch_size, seed, tuning=False)
    architecture = {"name": "mlp", "config": {"layers": list(setting.widths), "seed": seed}}
    finished = simulate(
        hidden_job(hiding, noise=noise),
        model_of(setting.data, TorchTrainer, architecture),
        {
            f"agent.a{number:03}": from_arrays(data.x[rows], data.y[rows])
            for number, rows in enumerate(data.agents)
        },
        held_out=from_arrays(data.test_x, data.test_y),
        own={"own": TorchTrainer},
        seed=seed,
    )
    if len(finished.rounds) != setting.rounds:
        raise RuntimeError(f"{hiding}: {finished.state.phase}: {finished.state.reason}")
    spent = finished.state.privacy
    accuracies = [float(done.metrics["accuracy"]) for done in finished.rounds]
    return accuracies, None if spent is None else spent.epsilon


def hidden_job(hiding: str, *, noise: bool) -> dict[str, Any]:
    """Return the job that a user would submit."""
    setting, mechanism = SETTINGS[noise], AGENTS_NOISE if noise else NO_NOISE
    if noise:
        mechanism = with_epsilon(setting, mechanism, EPSILON)
    job: dict[str, Any] = json.loads(private_job(setting, mechanism, CANDIDATES[noise]))
    job["round"]["agents"] = setting.cohort
    mechanisms = {**job.get("privacy-mechanisms", {}), **HIDINGS[hiding]}
    if noise:
        mechanisms[mechanism.key]["server_side_noising"] = False
    return {**job, "privacy-mechanisms": mechanisms}
