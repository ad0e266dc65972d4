"""Faults and warnings of a submitted private job, from the agents that are known. Pure."""

from collections.abc import Iterator

from fedbus.jobs import JobFault, JobFile
from fedbus.strategies.privacy_rules import cohort_fault
from fedbus.text import counted
from fedbus.wire.privacy import PrivacyTerms
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
    if terms.sampling == "poisson" and selector != OWN_SELECTOR:
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
    if terms.sampling == "poisson" and terms.population and terms.population != trainers:
        mean = terms.rate * trainers
        yield (
            f"strategy.population is {terms.population}, but {counted(trainers, 'agent')} that can "
            f"train {'is' if trainers == 1 else 'are'} known: rounds have {mean:.3g} agents on "
            f"average, not {terms.cohort}; ε holds all the same"
        )
    if terms.unit == "agent" and trainers > 1 and terms.delta * trainers >= 1:
        yield (
            f"privacy-mechanisms.accounting.delta is {terms.delta:g}, and {trainers} agents that "
            "can train are known: with a probability of δ all data of one may become public; give "
            f"less than {1 / trainers:.3g}"
        )
