"""Faults and warnings of a submitted private job, from the agents that are known. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence

from fedbus.jobs import JobFault, JobFile, training_params_of
from fedbus.jobs.eligibility import dp_sgd_reason
from fedbus.strategies.privacy_rules import cohort_fault
from fedbus.text import counted
from fedbus.training.dp_sgd import DP_SGD_FRAMEWORK
from fedbus.training.options import FRAMEWORKS
from fedbus.wire.documents import AgentFacts
from fedbus.wire.privacy import PrivacyTerms
from fedbus_controller.fleet import SHOWN_REASONS
from fedbus_controller.rounds.cohort_planning import OWN_SELECTOR


def private_job_faults(
    job: JobFile, terms: PrivacyTerms | None, trainers: int
) -> tuple[JobFault, ...]:
    """Return why a job's rounds could not keep its terms; `trainers` agents are known to train."""
    if terms is None:
        return ()
    faults = []
    if fault := cohort_fault(job, trainers):
        faults.append(fault)
    selector = job.plugins.selector
    if terms.poisson and selector != OWN_SELECTOR:
        faults.append(
            JobFault(
                key="plugins.selector",
                problem=f"{selector!r}, but Poisson sampling draws the agents itself, in secret",
                hint="leave it out, or leave privacy-mechanisms.accounting.sampling out",
            )
        )
    return tuple(faults)


def private_job_warnings(terms: PrivacyTerms, trainers: int) -> Iterator[str]:
    """Yield what makes rounds other than the file says; `trainers` agents are known to train."""
    if terms.poisson and terms.population and terms.population != trainers:
        mean = f"{terms.rate * trainers:.3g}"
        yield (
            f"strategy.population is {terms.population}, but {counted(trainers, 'agent')} that can "
            f"train {'is' if trainers == 1 else 'are'} known: rounds have {mean} "
            f"{'agent' if mean == '1' else 'agents'} on average, not {terms.cohort}; ε holds all "
            "the same"
        )
    if terms.unit == "agent" and trainers > 1 and terms.delta * trainers >= 1:
        yield (
            f"privacy-mechanisms.accounting.delta is {terms.delta:g}, and {trainers} agents that "
            "can train are known: with a probability of δ all data of one may become public; give "
            f"less than {1 / trainers:.3g}"
        )


def dp_sgd_warnings(job: JobFile, known: Sequence[AgentFacts]) -> Iterator[str]:
    """Warn if fewer of the known agents than a round needs can train with DP-SGD, or choose to."""
    params = training_params_of(job)
    if params.dp_sgd is None:
        return
    reasons = [dp_sgd_reason(job.trainer, None, params, facts) for facts in known]
    able, needed = reasons.count(None), job.round.quorum
    if known and able < needed:
        why = Counter(filter(None, reasons)).most_common(SHOWN_REASONS)
        said = "; ".join(f"{counted(count, 'agent')}: {reason}" for reason, count in why)
        yield (
            f"privacy-mechanisms.dp-sgd: {able} of {counted(len(known), 'known agent')} can train "
            f"this job, and a round needs {needed}, so it waits: {said}"
        )
    mixed = sum(_may_choose_another(facts) for facts in known)
    if job.trainer != DP_SGD_FRAMEWORK and mixed:
        yield (
            f"plugins.trainer: none is given, and {counted(mixed, 'known agent')} may choose "
            f"another trainer than {DP_SGD_FRAMEWORK}, which declines a job with dp-sgd; give "
            f"'{DP_SGD_FRAMEWORK}'"
        )


def _may_choose_another(facts: AgentFacts) -> bool:
    others = FRAMEWORKS.keys() - {DP_SGD_FRAMEWORK}
    return DP_SGD_FRAMEWORK in facts.trainers and not others.isdisjoint(facts.trainers)
