"""Rounds of a strategy in one process, without messages: its own parts, as agents call them. Pure.

Aggregator, server optimizer and objective are those that a job file names, checked and made as for
a job. Only the way of the updates is left out: encoding, transfer and spools. As in a job, state
arrays and arrays of agents are float32 between rounds, and an update that is not finite is refused.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.strategies import agent_networks
from benchmarks.strategies.real_data import WIDTHS, Partitioned, partitioned
from benchmarks.strategies.settings import Candidate, Setting, job_file
from fedbus import plugins
from fedbus.jobs import parse, training_params_of
from fedbus.model.layout import Weights
from fedbus.model.sections import join_section, split_section
from fedbus.plugins import (
    AfterTraining,
    Combined,
    Combines,
    Group,
    LocalStart,
    UpdateFacts,
    WeighsAll,
    WeighsOne,
)
from fedbus.strategies.combinations import strategy_faults
from fedbus.strategies.resolution import resolve_job
from fedbus.training.local_terms import LocalTerms
from fedbus.training.params import PluginChoice

Vector = NDArray[np.float64]


def accuracies(  # noqa: PLR0913 - what differs between two runs
    setting: Setting,
    candidate: Candidate,
    seed: int,
    *,
    tuning: bool = False,
    checked: bool = True,
    watch: Callable[[int, float], None] = lambda _round, _accuracy: None,
) -> list[float]:
    """Return the accuracy after each round.

    Partition, initial weights, cohorts, batches and epochs depend on the setting and the seed
    alone, so strategies are compared under the same conditions.

    Args:
        checked: Whether a combination that a job may not have is refused.
    """
    rounds = InMemoryRounds(setting, candidate, seed, tuning=tuning, checked=checked)
    found = []
    for number in range(1, setting.rounds + 1):
        rounds.run_round(number)
        found.append(rounds.accuracy())
        watch(number, found[-1])
    return found


class InMemoryRounds:
    """A model, its agents, and what both keep from round to round."""

    def __init__(
        self, setting: Setting, candidate: Candidate, seed: int, *, tuning: bool, checked: bool
    ) -> None:
        self._setting = setting
        file = job_file(setting, candidate)
        job = parse(file, strategy_faults) if checked else parse(file)
        self._strategy = resolve_job(job)
        self._aggregator = _made("aggregators", self._strategy.aggregator)
        self._optimizer = _made("server_optimizers", self._strategy.server_optimizer)
        self._objective = _made("objectives", self._strategy.objective)
        self._params = training_params_of(job)
        self._data = self._partitioned(seed, tuning=tuning)
        self._malicious = setting.attack.agents_of(setting.agents)
        self._y = setting.attack.labels(self._data.y, self._data.agents, self._malicious)
        self._seed = seed
        widths = WIDTHS[setting.data]
        self._layout = agent_networks.layout_of(widths)
        rng = np.random.default_rng([seed, 0])
        self._weights = agent_networks.initial_weights(widths, rng)
        numbers = len(self._flat(self._weights))
        self._state = {name: np.zeros(numbers, np.float32) for name in self._strategy.state}
        self._state_rounds = 0
        zeros = self._split(np.zeros(numbers, np.float32))
        self._own: dict[int, Weights] = dict.fromkeys(range(setting.agents), zeros)

    def _partitioned(self, seed: int, *, tuning: bool) -> Partitioned:
        wanted = self._setting
        return partitioned(
            wanted.data, wanted.split, wanted.agents, wanted.batch_size, seed, tuning=tuning
        )

    def accuracy(self) -> float:
        """Return the accuracy on rows that no agent has."""
        return agent_networks.accuracy(self._weights, self._data.test_x, self._data.test_y)

    def run_round(self, number: int) -> None:
        """Train a cohort and make the next version; without enough updates the base stays."""
        rng = np.random.default_rng([self._seed, number])
        setting = self._setting
        cohort = sorted(rng.choice(setting.agents, setting.cohort, replace=False).tolist())
        batches = [self._batches(agent, rng) for agent in cohort]
        starts = [self._start(agent) for agent in cohort]
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused
            trained = self._trained(starts, batches)
            base = self._flat(self._weights).astype(np.float64)
            sent = [
                self._flat({name: array[i] for name, array in trained.items()}) - base
                for i in range(len(cohort))
            ]
            attacked = [
                setting.attack.update(update) if agent in self._malicious else update
                for agent, update in zip(cohort, sent, strict=True)
            ]
        taken = [i for i, update in enumerate(attacked) if np.isfinite(update).all()]
        if len(taken) < max(1, getattr(self._aggregator, "least_updates", 1)):
            return
        ends = {
            i: self._objective.after(
                starts[i], self._split(attacked[i].astype(np.float32)), len(batches[i])
            )
            for i in taken
            if isinstance(self._objective, AfterTraining)
        }
        facts = [
            UpdateFacts(
                agent=f"a{cohort[i]:03}",
                examples=len(self._data.agents[cohort[i]]),
                steps=len(batches[i]),
            )
            for i in taken
        ]
        sections = {
            name: np.stack([self._flat(ends[i].sections[name]) for i in taken])
            for name in self._strategy.sections
        }
        if self._commit(base, facts, np.stack([attacked[i] for i in taken]), sections):
            self._own.update({cohort[i]: end.own for i, end in ends.items()})

    def _batches(self, agent: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw an agent's batches, shape (steps, batch); the rest of each epoch is left out."""
        rows, size = self._data.agents[agent], self._setting.batch_size
        whole = len(rows) // size * size
        low, high = self._setting.epochs
        epochs = int(rng.integers(low, high + 1))
        return np.concatenate(
            [rng.permutation(rows)[:whole].reshape(-1, size) for _ in range(epochs)]
        )

    def _start(self, agent: int) -> LocalStart:
        server = {name: self._split(self._state[name]) for name in self._strategy.server_state}
        return LocalStart(
            params=self._params, base=self._weights, own=self._own[agent], server=server
        )

    def _trained(
        self, starts: Sequence[LocalStart], batches: Sequence[NDArray[np.int64]]
    ) -> agent_networks.Stacked:
        objective = self._objective
        terms = [LocalTerms() if objective is None else objective.terms(each) for each in starts]
        return agent_networks.train(
            self._weights,
            self._data.x,
            self._y,
            batches,
            terms,
            learning_rate=self._params.learning_rate,
            momentum=self._params.number("momentum", 0.0),
        )

    def _commit(
        self,
        base: Vector,
        facts: Sequence[UpdateFacts],
        updates: Vector,
        sections: Mapping[str, NDArray[np.float32]],
    ) -> bool:
        """Combine the updates as a collector does; return whether the new weights are finite."""
        rule, factors, scale = self._aggregator, np.array([e.examples for e in facts], float), 1.0
        used = np.ones(len(facts), bool)
        if isinstance(rule, WeighsOne):
            factors = np.array([rule.weight(each) for each in facts])
            factors /= factors.sum()
        elif isinstance(rule, WeighsAll):
            rows = np.vstack([base, updates])
            gram = rows @ rows.T if getattr(rule, "gram", None) == "model" else None
            found = rule.weigh(facts, gram)
            factors, scale = np.array(found.updates), found.base
            used = factors != 0
        combined = (
            rule.combine(updates[used], factors[used])
            if isinstance(rule, Combines)
            else factors[used] @ updates[used]
        )
        combined = combined + (scale - 1) * base
        state = {name: array.astype(np.float64) for name, array in self._state.items()}
        if self._optimizer is None:
            new = base + combined
        else:
            made = Combined(
                update=combined,
                sections={name: factors @ rows for name, rows in sections.items()},
                agents=int(used.sum()),
                population=self._strategy.population or 0,
                round=self._state_rounds + 1,
            )
            new = self._optimizer.apply(base, made, state)
        with np.errstate(over="ignore"):
            rounded = new.astype(np.float32)
            kept = {name: array.astype(np.float32) for name, array in state.items()}
        if not all(np.isfinite(array).all() for array in (rounded, *kept.values())):
            return False
        self._weights, self._state = self._split(rounded), kept
        self._state_rounds += 1
        return True

    def _flat(self, arrays: Weights) -> NDArray[np.float32]:
        return join_section(arrays, self._layout)

    def _split(self, flat: NDArray[np.float32]) -> Weights:
        return split_section(flat, self._layout)


def _made(group: Group, choice: PluginChoice | None) -> Any:  # noqa: ANN401 - a part of any kind
    """Make a part as collectors and agents do."""
    factory: Any = None if choice is None else plugins.load(group, choice.id)
    return None if choice is None else factory(**choice.parameters)
