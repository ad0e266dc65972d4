"""A setting run by the real services on the ring, with agents that train by PyTorch."""

import json

import torch

from benchmarks.strategies.real_data import WIDTHS, partitioned
from benchmarks.strategies.settings import Candidate, Setting, job_file
from fedbus.data import from_arrays
from fedbus.frameworks.torch import TorchTrainer
from fedbus.simulation.run import model_of, simulate


def simulated_accuracies(setting: Setting, candidate: Candidate, seed: int) -> list[float]:
    """Return the accuracy that the evaluator measures after each round.

    Raises:
        ValueError: The setting has what no job file can say: attacks, epochs that differ.
    """
    low, high = setting.epochs
    if setting.attack.share or low != high:
        raise ValueError("expected a setting without attack, and the same epochs for all agents")
    torch.set_num_threads(1)
    data = partitioned(
        setting.data, setting.split, setting.agents, setting.batch_size, seed, tuning=False
    )
    architecture = {"name": "mlp", "config": {"layers": list(WIDTHS[setting.data]), "seed": seed}}
    model = model_of(setting.data, TorchTrainer, architecture)
    agents = {
        f"agent.a{number:03}": from_arrays(data.x[rows], data.y[rows])
        for number, rows in enumerate(data.agents)
    }
    finished = simulate(
        json.loads(job_file(setting, candidate)),
        model,
        agents,
        held_out=from_arrays(data.test_x, data.test_y),
        own={"own": TorchTrainer},
        seed=seed,
    )
    return [float(done.metrics["accuracy"]) for done in finished.rounds]
