"""Warnings about a private job that is accepted: its ε as planned, and what makes it greater."""

from collections.abc import Iterator, Mapping
from typing import Final

from fedbus.errors import PluginError
from fedbus.jobs import JobFile, training_params_of
from fedbus.number_text import format_conservatively
from fedbus.privacy.accounting import epsilon_of
from fedbus.privacy.composed_noise import depends_on_participations
from fedbus.privacy.ledger import planned_composition
from fedbus.privacy.ledger_entries import is_entered_with_plan
from fedbus.strategies.mechanism_rules import UNKNOWN_STEPS
from fedbus.strategies.privacy_terms import AVERAGING, privacy_terms
from fedbus.text import counted
from fedbus.wire.privacy import PrivacyTerms, Unit

_UNITS: Final[Mapping[Unit, str]] = {"agent": "an agent", "example": "an example of an agent"}


def privacy_warnings(job: JobFile, terms: PrivacyTerms) -> Iterator[str]:
    """Yield warnings about what a job promises.

    The first ε that a process computes takes two seconds: `dp_accounting` is imported for it. Where
    that is not installed, there is no warning about ε.
    """
    yield from _other_aggregator(job, terms)
    yield from _clear_labels(terms)
    yield from _whole_batches(job, terms)
    yield from _default_delta(job, terms)
    yield from _planned_epsilon(job, terms)


def _other_aggregator(job: JobFile, terms: PrivacyTerms) -> Iterator[str]:
    """Warn of an aggregator whose combined update one agent may change by twice the norm."""
    of_mean = privacy_terms(job, AVERAGING)
    given = terms.noise_multiplier if of_mean is None else of_mean.noise_multiplier
    if terms.noise_multiplier < given:
        yield (
            f"privacy-mechanisms.{terms.mechanism}: one agent may change what this strategy's "
            f"aggregator returns by twice the clipping norm, and not only by 1/{terms.cohort} of "
            f"it as with mean, so ε is that of the noise multiplier {terms.noise_multiplier:.3g}, "
            f"not of {given:.3g}; choose the aggregator mean for a smaller ε"
        )


def _clear_labels(terms: PrivacyTerms) -> Iterator[str]:
    """Warn of what MistNet's agents send without noise."""
    if terms.release == "features":
        yield (
            f"privacy-mechanisms.{terms.mechanism}: labels are sent as they are, so ε does not "
            "cover them: the agent that trains and the broker can read them"
        )


def _whole_batches(job: JobFile, terms: PrivacyTerms) -> Iterator[str]:
    """Warn of steps of DP-SGD that draw every example, which hides none of them by chance."""
    chosen = job.privacy_mechanisms.dp_sgd
    if chosen is not None and terms.rate == 1:
        size = training_params_of(job).batch_size
        yield (
            f"privacy-mechanisms.{terms.mechanism}: batch_size is {size}, not less than "
            f"least_examples, {chosen.least_examples}, so each step uses all examples and chance "
            "makes ε no smaller; give a smaller batch_size"
        )


def _default_delta(job: JobFile, terms: PrivacyTerms) -> Iterator[str]:
    accounting = job.privacy_mechanisms.accounting
    if terms.delta and (accounting is None or accounting.delta is None):
        yield (
            f"privacy-mechanisms.accounting.delta: none is given, so ε is computed for δ = "
            f"{terms.delta:.3g}"
        )


def _planned_epsilon(job: JobFile, terms: PrivacyTerms) -> Iterator[str]:
    key = f"privacy-mechanisms.{terms.mechanism}"
    if terms.release == "metric":
        yield f"{key}: it has no ε: what its noise hides depends on how far the updates are apart"
        return
    if terms.steps == UNKNOWN_STEPS:
        yield (
            f"{key}.trained_numbers: none is given, so the job has no ε of use: it is that of one "
            "bit, times the number of bits that an agent sends"
        )
        return
    rounds = job.num_rounds
    most = min(rounds, terms.max_participations or rounds)
    try:
        epsilon = epsilon_of(terms, planned_composition(terms, rounds, most))
    except PluginError:
        return
    whose = ""
    if depends_on_participations(terms):
        whose = f" for {_UNITS[terms.unit]} that takes part in {most} of them"
    if terms.noise == "agents" and not is_entered_with_plan(terms):
        whose += f", if all {terms.cohort} agents of each round send an update"
    shown = (
        "there is no finite ε"
        if epsilon is None
        else f"ε is {format_conservatively(epsilon, 3, lower_is_better=True)}"
    )
    target = terms.target_epsilon
    ends = ""
    if target is not None and (epsilon is None or epsilon > target):
        ends = f"; no round is run that would exceed target_epsilon {target:g}"
    yield f"{key}: after {counted(rounds, 'round')} {shown}{whose} (δ = {terms.delta:.3g}){ends}"
