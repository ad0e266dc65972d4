"""Keys of other systems in job files: read as what they mean here, or refused. Pure.

`strategy_conf` and `server_conf` are aerOS's, with the names of Flower's strategies; the parameters
of `strategy` may have these names as well. Every value becomes that of a key of this job file, and
a fault of it names the key as it was written.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fedbus.jobs.field_types import number_of
from fedbus.jobs.foreign_privacy import (
    PRIVACY_OBJECTS,
    SERVER_PRIVACY_KEYS,
    translate_privacy,
)
from fedbus.jobs.foreign_protection import translate_protection
from fedbus.jobs.key_translation import ForeignKey, Translation, are_equal, take_object
from fedbus.jobs.mechanism_cohort import with_cohort
from fedbus.jobs.schema import RoundSettings
from fedbus.limits import MAX_COHORT_AGENTS
from fedbus.wire.job_faults import show
from fedbus.wire.json_reader import InvalidValue, clip

FOREIGN_OBJECTS: Final = ("server_conf", "strategy_conf", *PRIVACY_OBJECTS)
"""Keys at the top of a file whose objects have foreign keys."""


_PARAMETERS: Final = "strategy.parameters."
_AGENTS: Final = (
    "The larger of `min_fit_clients` (2 if left out) and `fraction_fit` (1 if left out) times "
    "`min_available_clients`, rounded down; without `min_available_clients`, `min_fit_clients`."
)
_EVALUATORS: Final = (
    "every evaluator that is online evaluates each version, and no round waits for it"
)

SERVER_KEYS: Final[Mapping[str, ForeignKey]] = {
    "num_rounds": ForeignKey("num_rounds"),
    "round_timeout": ForeignKey("round.deadline_seconds", "In seconds."),
    "CODE_CARBON": ForeignKey("energy", "AI4OS's flag."),
}
"""Keys of `server_conf`."""

STRATEGY_KEYS: Final[Mapping[str, ForeignKey]] = {
    "fraction_fit": ForeignKey("round.agents", f"{_AGENTS} The size of a cohort is fixed."),
    "min_fit_clients": ForeignKey("round.agents", "See `fraction_fit`."),
    "min_available_clients": ForeignKey("round.agents", "See `fraction_fit`."),
    "min_completion_rate_fit": ForeignKey(
        "round.quorum",
        "This share of `round.agents`, rounded up. Left out, three quarters, also in "
        "`faulttolerantfedavg`.",
    ),
    "accept_failures": ForeignKey(
        "round.quorum", "`false`: all of `round.agents`; `true`: as if left out."
    ),
    "fraction_evaluate": ForeignKey(note=f"Only 1 is accepted: {_EVALUATORS}."),
    "min_evaluate_clients": ForeignKey(note=f"Only 0 is accepted: {_EVALUATORS}."),
    "min_completion_rate_evaluate": ForeignKey(note=f"Only 0 is accepted: {_EVALUATORS}."),
    "server_learning_rate": ForeignKey(f"{_PARAMETERS}server_learning_rate"),
    "server_momentum": ForeignKey(f"{_PARAMETERS}server_momentum"),
    "eta": ForeignKey(f"{_PARAMETERS}eta", "Flower's name of `server_learning_rate`."),
    "eta_l": ForeignKey("optimizer_config.lr", "The learning rate of agents."),
    "beta_1": ForeignKey(f"{_PARAMETERS}beta_1"),
    "beta_2": ForeignKey(f"{_PARAMETERS}beta_2"),
    "tau": ForeignKey(f"{_PARAMETERS}tau"),
    "q_param": ForeignKey(f"{_PARAMETERS}q_param"),
    "qffl_learning_rate": ForeignKey(f"{_PARAMETERS}qffl_learning_rate"),
}
"""Keys of `strategy_conf`; any other one is a parameter of the strategy of the same name."""

REFUSED_KEYS: Final[Mapping[str, str]] = {
    "client_conf": "config is the training of agents, optimizer_config their optimizer",
    "configuration_id": "training_id is the job's id",
    "adapt_config": "plugins.transforms change how agents read their data",
}
"""Foreign keys at the top of a file that are refused, each with the hint."""

ROUND_WORDS: Final = frozenset(
    word for word, key in STRATEGY_KEYS.items() if not key.to.startswith(_PARAMETERS)
)
"""Words about rounds and their agents, which no strategy gets as its parameters."""
_ONLY: Final[Mapping[str, float]] = {
    "fraction_evaluate": 1,
    "min_evaluate_clients": 0,
    "min_completion_rate_evaluate": 0,
}
_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}
_MIN_CLIENTS: Final = 2
"""Flower's default of `min_fit_clients`."""


def translate(tree: object) -> Translation:
    """Translate the foreign keys of a job file; a file that is no object is left as it is."""
    if not isinstance(tree, dict):
        return Translation({})
    done = Translation(dict(tree))
    for name, hint in REFUSED_KEYS.items():
        if done.tree.pop(name, None) is not None:
            done.refuse(name, "not a key here", hint)
    server = take_object(done, "server_conf")
    translate_privacy(done, server)
    translate_protection(done)
    for word, value in server.items():
        if word in SERVER_PRIVACY_KEYS:
            continue
        origin = f"server_conf.{clip(word)}"
        if word in SERVER_KEYS:
            done.set(tuple(SERVER_KEYS[word].to.split(".")), value, origin)
        else:
            done.refuse(
                origin,
                "unknown key",
                f"its keys are {', '.join((*SERVER_KEYS, *SERVER_PRIVACY_KEYS))}",
            )
    words = _words_among_parameters(done)
    for word, value in take_object(done, "strategy_conf").items():
        origin = f"strategy_conf.{clip(word)}"
        if word not in ROUND_WORDS:
            done.set(("strategy", "parameters", word), value, origin)
        elif word not in words:
            words[word] = _Word(origin, value)
        elif not are_equal(words[word].value, value):
            other = words[word]
            done.refuse(origin, f"{show(value)}, but {other.key} says {show(other.value)}")
    done.tree = with_cohort(done.tree)
    _Rounds(done, words).set()
    return done


@dataclass(frozen=True, slots=True)
class _Word:
    key: str
    value: object


def _words_among_parameters(done: Translation) -> dict[str, _Word]:
    """Take the words about rounds out of the strategy's parameters, where Flower has them."""
    strategy = done.tree.get("strategy")
    parameters = strategy.get("parameters") if isinstance(strategy, dict) else None
    if not isinstance(strategy, dict) or not isinstance(parameters, dict):
        return {}
    left = {word: value for word, value in parameters.items() if word not in ROUND_WORDS}
    done.tree["strategy"] = {**strategy, "parameters": left}
    return {
        word: _Word(f"{_PARAMETERS}{word}", value)
        for word, value in parameters.items()
        if word in ROUND_WORDS and value is not None and not isinstance(value, InvalidValue)
    }


class _Rounds:
    """What the foreign words about cohorts, failures and rates are here."""

    def __init__(self, done: Translation, words: Mapping[str, _Word]) -> None:
        self._done, self._words = done, words

    def set(self) -> None:
        """Set `round.agents`, `round.quorum` and the agents' learning rate."""
        if rate := self._words.get("eta_l"):
            self._done.set(("optimizer_config", "lr"), rate.value, rate.key)
        for word, accepted in _ONLY.items():
            if word in self._words and number_of(self._words[word].value) != accepted:
                value = show(self._words[word].value)
                problem = f"expected {accepted:g}, got {value}: {_EVALUATORS}"
                self._done.refuse(self._words[word].key, problem, "leave it out")
        self._set_agents()
        self._set_quorum()

    def _set_agents(self) -> None:
        share = self._number("fraction_fit", most=1)
        least, available = self._number("min_fit_clients"), self._number("min_available_clients")
        if available is None and share:
            problem = "a share of an unknown number: the size of a cohort is fixed here"
            hint = "give round.agents, or min_available_clients too"
            self._done.refuse(self._words["fraction_fit"].key, problem, hint)
            return
        asked = 0 if available is None else math.floor((1 if share is None else share) * available)
        if least is not None or available is not None:
            agents = int(max(asked, _MIN_CLIENTS if least is None else least))
            word = "min_fit_clients" if agents == least else "min_available_clients"
            self._done.set(("round", "agents"), agents, self._words[word].key)

    def _set_quorum(self) -> None:
        agents = self._agents()
        rate = self._number("min_completion_rate_fit", most=1)
        if rate is not None and agents is not None:
            quorum = max(1, math.ceil(rate * agents))
            key = self._words["min_completion_rate_fit"].key
            self._done.set(("round", "quorum"), quorum, key)
        failures = self._words.get("accept_failures")
        if failures is None:
            return
        flag = str(failures.value).lower()
        if flag not in _FLAGS:
            problem = f"expected true or false, got {show(failures.value)}"
            self._done.refuse(failures.key, problem, "")
        elif not _FLAGS[flag] and agents is not None:
            self._done.set(("round", "quorum"), agents, failures.key)

    def _agents(self) -> int | None:
        """Return the size of a cohort; None: it has a fault, which the schema reports."""
        settings = self._done.tree.get("round")
        written = settings.get("agents") if isinstance(settings, dict) else None
        if written is None:
            return RoundSettings().agents
        number = number_of(written)
        return int(number) if number is not None and number.is_integer() else None

    def _number(self, word: str, most: float = MAX_COHORT_AGENTS) -> float | None:
        """Return a word's number, and add a fault if it is none; None: there is no number."""
        if word not in self._words:
            return None
        key, value = self._words[word].key, self._words[word].value
        number = number_of(value)
        if number is None or (most > 1 and not number.is_integer()):
            kind = "a whole number" if most > 1 else "a number"
            self._done.refuse(key, f"expected {kind}, got {show(value)}", "")
            return None
        if not 0 <= number <= most:
            self._done.refuse(key, f"expected 0 to {most:g}, got {show(value)}", "")
            return None
        return number
