"""Consistency checks of a job's privacy mechanism with itself and with the job's rounds.

As those of `consistency`, they use the values as written. What depends on the strategy is checked
by `fedbus.strategies.privacy_rules`.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from fedbus.jobs.field_types import number_of
from fedbus.jobs.mechanism_cohort import POISSON
from fedbus.jobs.privacy_choice import MECHANISMS
from fedbus.jobs.privacy_options import DpAdaptive
from fedbus.jobs.protection_options import PROTECTIONS
from fedbus.number_text import format_against
from fedbus.text import in_given_order
from fedbus.training.options import TRAINING_PREFIX
from fedbus.wire.documents import JobFault
from fedbus.wire.job_faults import show
from fedbus.wire.privacy import DEFAULT_STDDEV_SHARE

Written = Mapping[str, object]

PRIVACY: Final = "privacy-mechanisms"
ACCOUNTING: Final = f"{PRIVACY}.accounting"


EMPTY: Final = (
    f"{PRIVACY} has no mechanism, so the job has no privacy; choose one: "
    f"{in_given_order((*MECHANISMS, *PROTECTIONS))}; or leave the key out"
)
"""The warning about an object that is there and asks for nothing."""


def privacy_faults(written: Written) -> Iterator[JobFault]:
    """Yield a fault for each contradiction between keys of privacy and of rounds."""
    chosen = [name for name in MECHANISMS if f"{PRIVACY}.{name}" in written]
    yield from _one_mechanism(chosen, written)
    yield from _one_protection(written)
    if not chosen:
        yield from _quorum_without_mechanism(written)
        return
    mechanism = _WrittenMechanism(chosen[0], written)
    yield from _cohort(mechanism)
    yield from _sampling(mechanism)
    yield from _delta(mechanism)
    yield from _adaptive(mechanism)
    yield from _banded(mechanism)
    yield from _without_epsilon(mechanism)
    yield from _private_targets(mechanism)


class _WrittenMechanism:
    """The chosen mechanism with its numbers, None where they are missing or have a fault."""

    def __init__(self, name: str, written: Written) -> None:
        self.name, self.written = name, written
        self.key = f"{PRIVACY}.{name}"
        self.poisson = written.get(f"{ACCOUNTING}.sampling") == POISSON
        self.cohort = self.number("num_sampled_clients")
        self.population = number_of(written.get("strategy.population"))
        self.rounds = number_of(written.get("num_rounds"))

    def number(self, key: str) -> float | None:
        return number_of(self.written.get(f"{self.key}.{key}"))

    def fault(self, key: str, problem: str, hint: str = "") -> JobFault:
        return JobFault(key=f"{self.key}.{key}", problem=problem, hint=hint)


def _one_mechanism(chosen: list[str], written: Written) -> Iterator[JobFault]:
    for other in chosen[1:]:
        problem = f"a job has one privacy mechanism, and {PRIVACY}.{chosen[0]} is another"
        yield JobFault(key=f"{PRIVACY}.{other}", problem=problem, hint="leave one of them out")
    if not chosen and ACCOUNTING in written:
        yield JobFault(
            key=ACCOUNTING,
            problem="there is no privacy mechanism to account for",
            hint=f"choose one beside it: {in_given_order(MECHANISMS)}; or leave it out",
        )


def _one_protection(written: Written) -> Iterator[JobFault]:
    one, other = (f"{PRIVACY}.{name}" for name in PROTECTIONS)
    if one in written and other in written:
        problem = f"a job encrypts updates or masks them, and {one} is there"
        yield JobFault(key=other, problem=problem, hint="leave one of them out")


def _quorum_without_mechanism(written: Written) -> Iterator[JobFault]:
    key = f"{ACCOUNTING}.sampling"
    if written.get(key) != POISSON and number_of(written.get("round.quorum")) == 0:
        yield JobFault(key="round.quorum", problem="expected at least 1, got 0")


def _cohort(mechanism: _WrittenMechanism) -> Iterator[JobFault]:
    agents, cohort = number_of(mechanism.written.get("round.agents")), mechanism.cohort
    if cohort is None:
        return
    if agents is not None and agents != cohort:
        yield JobFault(
            key="round.agents",
            problem=f"{agents:g}, but {mechanism.key}.num_sampled_clients says {cohort:g}",
            hint="leave it out",
        )
    if mechanism.population is not None and cohort > mechanism.population:
        yield mechanism.fault(
            "num_sampled_clients",
            f"expected at most {mechanism.population:g} (strategy.population), "
            f"got {format_against(cohort, mechanism.population)}",
        )


def _sampling(mechanism: _WrittenMechanism) -> Iterator[JobFault]:
    """Yield faults of a quorum: Poisson sampling has none, and without it none is 0.

    Whether its ε would hold is a question of the resolved terms: see `fedbus.privacy.terms_faults`.
    """
    quorum = number_of(mechanism.written.get("round.quorum"))
    if not mechanism.poisson:
        if quorum == 0:
            yield JobFault(key="round.quorum", problem="expected at least 1, got 0")
        return
    if quorum not in {None, 0}:
        yield JobFault(
            key="round.quorum",
            problem=f"{quorum:g}, but a round with Poisson sampling is committed with whatever "
            "number of updates came",
            hint="leave it out",
        )


def _delta(mechanism: _WrittenMechanism) -> Iterator[JobFault]:
    delta = number_of(mechanism.written.get(f"{ACCOUNTING}.delta"))
    named = (
        ("least_examples", mechanism.number("least_examples")),
        ("strategy.population", mechanism.population),
        ("num_sampled_clients", mechanism.cohort),
    )
    name, number = next(((n, each) for n, each in named if each), ("", None))
    if delta is None or number is None or number <= 1 or delta * number < 1:
        return
    yield JobFault(
        key=f"{ACCOUNTING}.delta",
        problem=f"expected less than {1 / number:.3g} (1 / {name}), got {delta:g}: with a "
        "probability of δ all data of one may become public",
        hint=f"give {number**-1.1:.1g} or less",
    )


def _adaptive(mechanism: _WrittenMechanism) -> Iterator[JobFault]:
    """Yield a fault if the noisy count alone costs more than the whole mechanism may."""
    cohort = mechanism.cohort
    if mechanism.name != "dp-adaptive" or cohort is None:
        return
    given = mechanism.number("clip_count_stddev")
    stddev = cohort * DEFAULT_STDDEV_SHARE if given is None else given
    multiplier = mechanism.number("noise_multiplier")
    if multiplier is None:
        multiplier = DpAdaptive.model_fields["noise_multiplier"].default
    if multiplier < 2 * stddev:
        return
    how = "num_sampled_clients / 10" if given is None else "2 * clip_count_stddev"
    yield mechanism.fault(
        "noise_multiplier",
        f"expected less than {2 * stddev:g} ({how}), got {multiplier:g}: the noise in the count of "
        "updates that are not clipped would leave none for the updates",
        f"give a smaller noise_multiplier, or a clip_count_stddev of more than {multiplier / 2:g}",
    )


def _banded(mechanism: _WrittenMechanism) -> Iterator[JobFault]:
    if mechanism.name != "dp-banded":
        return
    separation, bands = mechanism.number("min_separation"), mechanism.number("bands")
    if separation is not None and bands is not None and bands > separation:
        yield mechanism.fault(
            "bands",
            f"expected at most {separation:g} (min_separation), got {bands:g}: the noise of two "
            "rounds of one agent must not be correlated",
        )
    cohort, population = mechanism.cohort, mechanism.population
    if cohort is None or population is None:
        return
    if separation is not None and separation * cohort > population:
        yield mechanism.fault(
            "min_separation",
            f"{separation:g} rounds of {cohort:g} different agents need {separation * cohort:g} "
            f"agents, but strategy.population is {population:g}",
            f"give {max(1, population // cohort):g} or less",
        )
    most, rounds = mechanism.number("max_participations"), mechanism.rounds
    if most is not None and rounds is not None and most * population < rounds * cohort:
        yield mechanism.fault(
            "max_participations",
            f"{population:g} agents (strategy.population) that each take part {most:g} times are "
            f"enough for {most * population // cohort:g} rounds of {cohort:g}, but num_rounds is "
            f"{rounds:g}",
            f"give {-(-rounds * cohort // population):g} or more",
        )


def _without_epsilon(mechanism: _WrittenMechanism) -> Iterator[JobFault]:
    if mechanism.name != "metric-privacy":
        return
    for name in ("delta", "target_epsilon", "accountant"):
        if (value := mechanism.written.get(f"{ACCOUNTING}.{name}")) is not None:
            yield JobFault(
                key=f"{ACCOUNTING}.{name}",
                problem=f"{show(value)}, but metric privacy has no ε",
                hint="leave it out, or choose dp-fixed",
            )


def _private_targets(mechanism: _WrittenMechanism) -> Iterator[JobFault]:
    for key in mechanism.written:
        metric = key.removeprefix("stopping_target.")
        if metric != key and metric.startswith(TRAINING_PREFIX):
            yield JobFault(
                key=key,
                problem="a metric of the agents' training data, which none of them sends under "
                f"{mechanism.name}",
                hint=f"name {metric.removeprefix(TRAINING_PREFIX)}, which evaluators measure on "
                "their own data",
            )
