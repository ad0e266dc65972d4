"""Settings of private federated learning, and the job file of a mechanism in one. Pure."""

import json
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from fedbus.privacy.path_error import best_bands, likely_participations, widest_separation

DELTA: Final = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateSetting:
    """What all mechanisms have in common.

    Attributes:
        widths: Inputs, hidden units and classes of the model.
        agents: Among which the rows are partitioned at random; each has `batch_size` at least.
        cohort: Agents wanted in a round.
        batch_size: Rows of a step; an agent's further rows wait for the next epoch.
        epochs: Passes of an agent over its rows in a round.
    """

    data: str
    widths: tuple[int, ...]
    agents: int
    cohort: int
    rounds: int
    batch_size: int = 4
    epochs: int = 5

    @property
    def separation(self) -> int:
        """Rounds from one participation of an agent to the next, with banded noise."""
        return min(self.rounds, widest_separation(self.agents, self.cohort))


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateMechanism:
    """A mechanism with its noise, or none.

    Attributes:
        key: In the job file's `privacy-mechanisms`; empty: none.
        poisson: Whether agents are drawn by Poisson sampling; else the cohort is as large as
            wanted.
        noise_multiplier: Of the mechanism; see docs/job-file.md.
    """

    key: str = ""
    poisson: bool = False
    noise_multiplier: float = 1.0

    def participations(self, setting: PrivateSetting) -> int:
        """Return the most rounds in which one agent may take part."""
        if self.key == "dp-banded":
            return ceil(setting.rounds / setting.separation)
        if self.poisson or not self.key:
            return setting.rounds
        return likely_participations(setting.agents, setting.cohort, setting.rounds)

    def parameters(self, setting: PrivateSetting, norm: float) -> dict[str, Any]:
        """Return the mechanism's parameters in a job file.

        Args:
            norm: The clipping norm; that of the first round if it is adapted.
        """
        common = {"noise_multiplier": self.noise_multiplier, "num_sampled_clients": setting.cohort}
        if self.key == "dp-adaptive":
            stddev = max(setting.cohort / 20, self.noise_multiplier)
            return {**common, "init_clip_norm": norm, "clip_count_stddev": stddev}
        if self.key == "dp-banded":
            times = self.participations(setting)
            bands = best_bands(setting.separation, times, setting.rounds)
            return {
                **common,
                "clipping_norm": norm,
                "min_separation": setting.separation,
                "max_participations": times,
                "bands": bands,
            }
        return {**common, "clipping_norm": norm}


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateCandidate:
    """What is chosen on held-out rows: the agents' learning rate and the clipping norm."""

    learning_rate: float
    clipping_norm: float = 1.0


def private_job(
    setting: PrivateSetting, mechanism: PrivateMechanism, candidate: PrivateCandidate
) -> bytes:
    """Return the job that a user would submit."""
    job: dict[str, Any] = {
        "training_id": f"{setting.data}-{mechanism.key or 'plain'}",
        "model_name": setting.data,
        "model_version": "v1",
        "num_rounds": setting.rounds,
        "eval_metrics": ["accuracy"],
        "eval_func": "categorical_crossentropy",
        "config": [
            {
                "config_id": "default",
                "batch_size": setting.batch_size,
                "epochs": setting.epochs,
                "learning_rate": candidate.learning_rate,
            }
        ],
        "optimizer_config": {"optimizer": "sgd"},
        "strategy": {"id": "fedavg"},
    }
    if not mechanism.key:
        quorum = {"agents": setting.cohort, "quorum": setting.cohort, "deadline_seconds": 60}
        return json.dumps({**job, "round": quorum}).encode()
    sampling = {"sampling": "poisson"} if mechanism.poisson else {}
    job["strategy"]["population"] = setting.agents
    job["round"] = {"deadline_seconds": 60}
    if not mechanism.poisson:
        job["round"]["quorum"] = setting.cohort
    job["privacy-mechanisms"] = {
        mechanism.key: mechanism.parameters(setting, candidate.clipping_norm),
        "accounting": {"delta": DELTA, **sampling},
    }
    return json.dumps(job).encode()
