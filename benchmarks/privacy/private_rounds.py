"""Rounds of a private job in one process, without messages: its own mechanism and ledger. Pure.

Both halves of the mechanism, its noise, the ledger and the accountant are those of a job, made from
a job file and checked like one. Agents are trained together in numpy; updates are not sent. The
noise key follows from the seed, so that figures can be repeated: a key of a deployment must not.
"""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.privacy.private_settings import (
    PrivateCandidate,
    PrivateMechanism,
    PrivateSetting,
    private_job,
)
from benchmarks.strategies import agent_networks
from benchmarks.strategies.real_data import Partitioned, partitioned
from fedbus import plugins
from fedbus.jobs import parse, training_params_of
from fedbus.model.layout import Weights
from fedbus.model.sections import join_section, split_section
from fedbus.plugins import Combined, PrivateTraining, RoundNoise, UpdateFacts
from fedbus.privacy.accounting import epsilon_of
from fedbus.privacy.calibration import noise_multiplier_for
from fedbus.privacy.ledger import Ledger
from fedbus.privacy.noise import KeyedNoise
from fedbus.privacy.noise_key import NoiseKey
from fedbus.privacy.secret_noise import EphemeralNoise
from fedbus.strategies.combinations import strategy_faults
from fedbus.strategies.resolution import resolve_job
from fedbus.training.local_terms import LocalTerms
from fedbus.wire.privacy import LedgerEntry
from fedbus.wire.strategies import Strategy

Floats = NDArray[np.float32]

_JOB: Final = "measured"


def strategy_of(
    setting: PrivateSetting, mechanism: PrivateMechanism, candidate: PrivateCandidate
) -> Strategy:
    """Return what the controller makes of the job file."""
    return resolve_job(parse(private_job(setting, mechanism, candidate), strategy_faults))


def with_epsilon(
    setting: PrivateSetting, mechanism: PrivateMechanism, epsilon: float
) -> PrivateMechanism:
    """Return the mechanism with the least noise for which the whole job has at most this ε."""
    strategy = strategy_of(setting, mechanism, PrivateCandidate(learning_rate=0.1))
    if strategy.privacy is None:
        raise ValueError("expected a mechanism: without one there is no ε")
    found = noise_multiplier_for(
        strategy.privacy,
        epsilon,
        rounds=setting.rounds,
        participations=mechanism.participations(setting),
    )
    return replace(mechanism, noise_multiplier=found)


class PrivateRounds:
    """A model, its agents, and the ledger of a job.

    Args:
        data: The rows, by agent; None: those of the setting and seed.
        tuning: Whether parameters are chosen: the test rows are not used then.
        absent: Agents that never take part.
    """

    def __init__(  # noqa: PLR0913 - what differs between two runs
        self,
        setting: PrivateSetting,
        mechanism: PrivateMechanism,
        candidate: PrivateCandidate,
        seed: int,
        *,
        data: Partitioned | None = None,
        tuning: bool = False,
        absent: Sequence[int] = (),
    ) -> None:
        self._setting, self._mechanism, self._seed = setting, mechanism, seed
        job = parse(private_job(setting, mechanism, candidate), strategy_faults)
        self._rate = training_params_of(job).learning_rate
        self._strategy = strategy = resolve_job(job)
        self.terms = strategy.privacy
        self._part: Any = None
        if self.terms is not None:
            chosen = strategy.update_transforms[-1]
            self._part = plugins.load("update_transforms", chosen.id)(**chosen.parameters)
        self._absent = frozenset(absent)
        self.data = data or _rows_of(setting, seed, tuning=tuning)
        self._layout = agent_networks.layout_of(setting.widths)
        rng = np.random.default_rng([seed, 0])
        self.weights = agent_networks.initial_weights(setting.widths, rng)
        self.numbers: dict[str, float] = {}
        self.ledger = Ledger()
        self._key = NoiseKey(sha256(f"benchmark {seed}".encode()).digest())

    def run(self) -> list[float]:
        """Run all rounds; return the accuracy after each, on rows that no agent has."""
        found = []
        for number in range(1, self._setting.rounds + 1):
            self.run_round(number)
            found.append(self.accuracy())
        return found

    def accuracy(self) -> float:
        """Return the share of the held-out rows whose class is predicted."""
        return agent_networks.accuracy(self.weights, self.data.test_x, self.data.test_y)

    def epsilon(self) -> float | None:
        """Return the ε of what was released, from the ledger."""
        return None if self.terms is None else epsilon_of(self.terms, self.ledger.composition())

    def run_round(self, number: int) -> None:
        """Train a cohort, add the noise to the mean of its updates and make the next version."""
        rng = np.random.default_rng([self._seed, number])
        cohort = [agent for agent in self._drawn(rng) if agent not in self._absent]
        updates, bits = self._updates(cohort, rng)
        divisor = self._setting.cohort if self._part is not None else max(1, len(cohort))
        mean = updates.sum(axis=0) / divisor
        facts = [
            UpdateFacts(agent=_name(agent), examples=1, norm_bit=bit, norm=_norm(update))
            for agent, bit, update in zip(cohort, bits, updates, strict=True)
        ]
        if self._part is not None:
            mean = self._noised(mean, facts, number)
        base = join_section(self.weights, self._layout).astype(np.float64)
        self.weights = split_section((base + mean).astype(np.float32), self._layout)

    def _drawn(self, rng: np.random.Generator) -> list[int]:
        setting = self._setting
        if self._mechanism.poisson:
            chances = rng.random(setting.agents)
            rate = setting.cohort / setting.agents
            return [agent for agent in range(setting.agents) if chances[agent] < rate]
        free = [agent for agent in range(setting.agents) if self._may_take_part(agent)]
        return sorted(rng.choice(free, min(len(free), setting.cohort), replace=False).tolist())

    def _may_take_part(self, agent: int) -> bool:
        if self.terms is None:
            return True
        had = self.ledger.participation(_name(agent))
        least = had is None or had.count < self._mechanism.participations(self._setting)
        return least and self.ledger.eligible(self.terms, _name(agent))

    def _updates(
        self, cohort: Sequence[int], rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], list[float | None]]:
        """Return what the agents send, shape (agents, numbers), and their norm bits."""
        numbers = sum(array.size for array in self.weights.values())
        if not cohort:
            return np.zeros((0, numbers)), []
        batches = [self._batches(agent, rng) for agent in cohort]
        terms = [LocalTerms() for _ in cohort]
        data = self.data
        trained = agent_networks.train(
            self.weights, data.x, data.y, batches, terms, learning_rate=self._rate
        )
        sent, bits = [], []
        for place in range(len(cohort)):
            update = {name: trained[name][place] - base for name, base in self.weights.items()}
            protected, bit = self._protected(update)
            sent.append(join_section(protected, self._layout).astype(np.float64))
            bits.append(bit)
        return np.stack(sent), bits

    def _protected(self, update: Weights) -> tuple[Weights, float | None]:
        if self._part is None:
            return update, None
        training = PrivateTraining(
            noise=EphemeralNoise(), numbers=self.numbers, cohort=self._setting.cohort
        )
        made = self._part.protect(update, training)
        return made.update, made.norm_bit

    def _batches(self, agent: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw an agent's batches, shape (steps, batch); the rest of each epoch is left out."""
        rows, size = self.data.agents[agent], self._setting.batch_size
        whole = len(rows) // size * size
        epochs = range(self._setting.epochs)
        return np.concatenate([rng.permutation(rows)[:whole].reshape(-1, size) for _ in epochs])

    def _noised(
        self, mean: NDArray[np.float64], facts: Sequence[UpdateFacts], number: int
    ) -> NDArray[np.float64]:
        """Return the mean with the mechanism's noise, after the ledger has an entry for it."""
        for each in facts:
            if fault := self._part.refuses_update(each, self.numbers):
                raise ValueError(fault)
        digest = sha256(mean.tobytes()).hexdigest()
        self.ledger.append(
            LedgerEntry(
                job=_JOB,
                round=number,
                task=number,
                agents=tuple(each.agent for each in facts),
                updates=digest,
                noise_multiplier=self._multiplier(),
            )
        )
        noise: RoundNoise = KeyedNoise(self._key, _JOB, self.ledger.steps(), self._strategy)
        changed = self._part.next_private_numbers(self.numbers, facts, noise)
        self.numbers = {**self.numbers, **changed}
        combined = Combined(update=mean, agents=len(facts), round=number, numbers=self.numbers)
        noised: NDArray[np.float64] = self._part.add_noise(combined, noise)
        return noised

    def _multiplier(self) -> float:
        return 0.0 if self.terms is None else self.terms.noise_multiplier


def _rows_of(setting: PrivateSetting, seed: int, *, tuning: bool) -> Partitioned:
    return partitioned(setting.data, "iid", setting.agents, setting.batch_size, seed, tuning=tuning)


def _norm(update: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(update))


def _name(agent: int) -> str:
    return f"agent.a{agent:04}"
