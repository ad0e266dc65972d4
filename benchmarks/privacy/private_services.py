"""A private setting run by the real services in one process, with agents that train by PyTorch.

Its noise comes from a fresh key and cannot be repeated, as in a deployment.
"""

import json
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

import torch

from benchmarks.privacy.private_rounds import PrivateRounds, with_epsilon
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

SETTING: Final = PrivateSetting(
    data="digits", widths=(64, 32, 10), agents=100, cohort=50, rounds=12, epochs=5
)
EPSILON: Final = 8.0
CANDIDATE: Final = PrivateCandidate(learning_rate=0.3, clipping_norm=1.0)
_LAST: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicesCheck:
    """Accuracy and ε of one job over all services, and of the same in memory.

    Accuracies are means over the last three rounds.
    """

    mechanism: str
    services: float
    in_memory: float
    services_epsilon: float | None
    in_memory_epsilon: float | None

    def plain(self) -> dict[str, Any]:
        """Return what JSON holds, rounded."""
        return {
            "mechanism": self.mechanism,
            "services": round(self.services, 4),
            "in_memory": round(self.in_memory, 4),
            "services_epsilon": self.services_epsilon,
            "in_memory_epsilon": self.in_memory_epsilon,
        }


def checked_services(
    name: str, mechanism: PrivateMechanism, setting: PrivateSetting = SETTING, seed: int = 0
) -> ServicesCheck:
    """Run a job in both ways, from the same initial weights and with the same rows."""
    torch.set_num_threads(1)
    noised = with_epsilon(setting, mechanism, EPSILON)
    data = partitioned(setting.data, "iid", setting.agents, setting.batch_size, seed, tuning=False)
    architecture = {"name": "mlp", "config": {"layers": list(setting.widths), "seed": seed}}
    rounds = PrivateRounds(setting, noised, CANDIDATE, seed, data=data)
    rounds.weights = TorchTrainer(architecture).initial()
    in_memory = rounds.run()
    agents = {
        f"agent.a{number:03}": from_arrays(data.x[rows], data.y[rows])
        for number, rows in enumerate(data.agents)
    }
    finished = simulate(
        json.loads(private_job(setting, noised, CANDIDATE)),
        model_of(setting.data, TorchTrainer, architecture),
        agents,
        held_out=from_arrays(data.test_x, data.test_y),
        own={"own": TorchTrainer},
        seed=seed,
    )
    accuracies = [float(done.metrics["accuracy"]) for done in finished.rounds]
    spent = finished.state.privacy
    return ServicesCheck(
        mechanism=name,
        services=fmean(accuracies[-_LAST:]),
        in_memory=fmean(in_memory[-_LAST:]),
        services_epsilon=None if spent is None else spent.epsilon,
        in_memory_epsilon=rounds.epsilon(),
    )
