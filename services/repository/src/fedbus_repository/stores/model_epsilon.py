"""Sum of what jobs have spent on a model, and whether a job may continue it. Pure.

The ε and δ of jobs add up (basic composition) from the last version that was pushed: what was spent
on pushed weights is for their owner to state, and counts as 0 here.
"""

from collections.abc import Sequence
from math import fsum

from fedbus.number_text import format_conservatively
from fedbus.privacy.accounting import round_up
from fedbus.wire.privacy import JobPrivacy, PrivacyTerms, Unit
from fedbus_repository.stores.ledger_records import Spent


def spent_by_each(jobs: Sequence[JobPrivacy], unit: Unit) -> tuple[Spent, ...]:
    """Return what each job has spent of the privacy of one agent, or of one example.

    It is unknown of a job that protects the other one, and of a job without a mechanism, unless
    that has committed nothing.
    """
    return tuple(
        (
            each.spent.epsilon if each.spent and each.spent.unit == unit else None,
            each.spent.delta if each.spent else 0.0,
        )
        for each in jobs
        if each.spent is not None or each.rounds
    )


def model_spent(jobs: Sequence[JobPrivacy]) -> Spent:
    """Add up what jobs have spent on a model."""
    units = [each.spent.unit for each in jobs if each.spent is not None]
    spent = spent_by_each(jobs, units[0] if units else "agent")
    known = [epsilon for epsilon, _ in spent if epsilon is not None]
    delta = fsum(delta for _, delta in spent)
    if len(known) < len(spent):
        return None, delta
    return (round_up(fsum(known)) if known[1:] else fsum(known)), delta


def is_used(jobs: Sequence[JobPrivacy]) -> bool:
    """Return whether one of the jobs on a model has trained it or drawn noise for it."""
    return any(each.spent is not None or each.rounds > 0 for each in jobs)


def new_job_fault(terms: PrivacyTerms, model: str, jobs: Sequence[JobPrivacy]) -> str | None:
    """Return why the ε of a model, which these jobs have trained, cannot be continued.

    Metric privacy has no ε, so it continues any model.
    """
    if terms.release == "metric" or (why := _unknown_epsilon(jobs, terms.unit)) is None:
        return None
    return (
        f"the ε of model {model!r} is unknown: {why}; push its weights again: "
        f"`fedbus models pull {model} -o {model}.npz`, then `fedbus models push SPEC.json "
        f"--weights {model}.npz --reset`, or with `--name OTHER` in place of `--reset`, which "
        "makes another model (for a factory, MODULE:FACTORY in place of SPEC.json); their own ε "
        "then counts as 0, and is for you to state"
    )


def lost_epsilon(model: str, jobs: Sequence[JobPrivacy]) -> str | None:
    """Return the warning about a job without a mechanism on a model that has an ε, or None."""
    epsilon, _ = model_spent(jobs)
    if epsilon is None or all(each.spent is None for each in jobs):
        return None
    shown = format_conservatively(epsilon, 3, lower_is_better=True)
    return (
        f"model {model!r} has an ε of {shown}, and this job has no privacy mechanism: after "
        "its first round the model has no ε, and no job with a mechanism can train it until its "
        "weights are pushed again"
    )


def _unknown_epsilon(jobs: Sequence[JobPrivacy], unit: Unit) -> str | None:
    for each in jobs:
        if each.spent is None:
            if each.rounds:
                return f"job {each.job!r} has trained it without a privacy mechanism"
        elif each.spent.epsilon is None:
            return f"job {each.job!r} has trained it with {each.spent.mechanism}, without an ε"
        elif each.spent.unit != unit:
            return (
                f"the ε of job {each.job!r} protects one {each.spent.unit}, and that of this job"
                f" one {unit}, so there is no sum"
            )
    return None
