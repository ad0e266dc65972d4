"""Text for people about ε: what a job has spent, and what that means for one unit. Pure."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from fedbus.number_text import format_conservatively
from fedbus.text import counted, in_given_order
from fedbus.wire.messages import PrivacyShown
from fedbus.wire.privacy import JobPrivacy, PrivacySpent, Relation, Unit

_DIGITS: Final = 3
_LARGEST_FACTOR: Final = 1e6
"""Factor from which on a sentence says that ε promises nothing that can be felt."""
_ZEROED: Final[Mapping[Unit, str]] = {
    "agent": "compared with a training in which its updates are zero",
    "example": "compared with a training in which its gradients or features are zero",
}
"""What every mechanism promises: what is added or left out, or replaced by any other data, may be
replaced by zeros as well."""
_NEIGHBOURS: Final[Mapping[tuple[Unit, Relation], str]] = {
    ("agent", "add-or-remove-one"): "compared with a training without it",
    ("agent", "zero-out"): _ZEROED["agent"],
    ("agent", "replace-one"): "compared with a training on any other data of it",
    ("example", "zero-out"): "compared with a training in which its gradients are zero",
    ("example", "replace-one"): "compared with a training on any other data in its place",
}
_OF_DRAWN_COHORTS: Final = (
    " Agents were drawn at random (Poisson sampling): ε assumes that this person sees neither who "
    "was drawn nor how long rounds take."
)
"""A round without an agent ends at once, and one whose agents are slow takes long."""
_UNITS: Final[Mapping[Unit, str]] = {"agent": "agent", "example": "training example"}


def format_epsilon(epsilon: float | None) -> str:
    """Format ε with three digits, rounded up; `none` if there is no finite one."""
    if epsilon is None:
        return "none"
    return format_conservatively(epsilon, _DIGITS, lower_is_better=True)


def format_job_epsilon(spent: PrivacySpent | None) -> str:
    """Format the ε of a job; "" if it has no privacy mechanism, or no noise yet."""
    return "" if spent is None else format_epsilon(spent.epsilon)


def format_model_epsilon(spent: PrivacySpent | None) -> str:
    """Format the ε of a version and all before it; "" if its job had no privacy mechanism."""
    return "" if spent is None else format_epsilon(spent.model_epsilon)


def format_spent(spent: PrivacySpent) -> str:
    """Format what a job has spent: `ε 3.21 of 4, δ 1e-05 (dp-fixed, 12 ledger entries)`."""
    most = "" if spent.target_epsilon is None else f" of {spent.target_epsilon:g}"
    how = f"({spent.mechanism}, {counted(spent.entries, 'ledger entry')})"
    if spent.epsilon is None:
        return f"no finite ε {how}"
    return f"ε {format_epsilon(spent.epsilon)}{most}, δ {spent.delta:.3g} {how}"


def format_sum(spent: PrivacySpent) -> str:
    """Format what all jobs on a model have spent: `ε 5.1, δ 2e-05`; δ says nothing without ε."""
    if spent.model_epsilon is None:
        return "no ε that is known"
    return f"ε {format_epsilon(spent.model_epsilon)}, δ {spent.model_delta:.3g}"


def is_alone(spent: PrivacySpent) -> bool:
    """Return whether a job is the only one that has spent anything on its model."""
    return (spent.epsilon, spent.delta) == (spent.model_epsilon, spent.model_delta)


def describe_privacy(shown: PrivacyShown) -> str:
    """Describe in plain words what versions of a model tell about one unit."""
    private = [each.spent for each in shown.jobs if each.spent is not None]
    if not private:
        if any(each.rounds for each in shown.jobs):
            return f"no job with a privacy mechanism has trained {shown.model}: it has no ε"
        return (
            f"no job has trained {shown.model} since it was pushed; the ε of its next job begins "
            "at 0"
        )
    if shown.epsilon is None:
        return f"{shown.model} as a whole has no ε: {_why_none(shown.jobs)}"
    unit = private[0].unit  # an ε is a sum over jobs that protect the same unit
    told = {_NEIGHBOURS.get((unit, each.relation), _ZEROED[unit]) for each in private}
    neighbours = _ZEROED[unit] if len(told) > 1 else told.pop()
    assumed = _OF_DRAWN_COHORTS if any(each.poisson for each in private) else ""
    bound = f"ε {format_epsilon(shown.epsilon)} and δ {shown.delta:.3g}"
    return (
        f"A person who has every version up to {shown.version} of {shown.model} learns at most "
        f"{bound} about any one {_UNITS[unit]}: {_factor(shown.epsilon)}, but for a probability of "
        f"{shown.delta:.3g}; {neighbours}.{assumed}"
    )


def _why_none(jobs: Sequence[JobPrivacy]) -> str:
    bare = [each.job for each in jobs if each.spent is None and each.rounds]
    without = [
        f"{each.job} ({each.spent.mechanism})"
        for each in jobs
        if each.spent is not None and each.spent.epsilon is None
    ]
    reasons = []
    if bare:
        trained = "it has been trained without a privacy mechanism by"
        reasons.append(f"{trained} {in_given_order(bare)}")
    if without:
        reasons.append(f"there is no finite ε of {in_given_order(without)}")
    units = {each.spent.unit: each.job for each in jobs if each.spent is not None}
    if len(units) > 1:
        kept = (f"{job} protects each {_UNITS[unit]}" for unit, job in sorted(units.items()))
        reasons.append(f"{' and '.join(kept)}: these ε have no sum")
    return "; ".join(reasons) or "the ε of one of its jobs is unknown"


def _factor(epsilon: float) -> str:
    factor = math.exp(epsilon) if epsilon < math.log(_LARGEST_FACTOR) else math.inf
    if factor > _LARGEST_FACTOR:
        return "so large an ε bounds nothing in practice"
    shown = format_conservatively(factor, _DIGITS, lower_is_better=True)
    return f"no conclusion becomes more than {shown} times as likely by its data"
