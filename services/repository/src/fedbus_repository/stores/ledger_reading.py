"""Readings of what jobs have spent, alone and on a model."""

from fedbus.privacy.ledger_entries import trains_on_features
from fedbus.wire.privacy import JobPrivacy, PrivacySpent
from fedbus_repository.stores.ledger_records import EntryFacts, JobOnModel
from fedbus_repository.stores.record_database import Records
from fedbus_repository.stores.records import StoredJob


def spent_by(records: Records, job: str) -> PrivacySpent | None:
    """Read what a job has spent; None before its first entry."""
    last = records.last_entry(job)
    return None if last is None else last.spent


def entry_of_round(records: Records, job: StoredJob, task: int) -> EntryFacts | None:
    """Read the entry that a round of this task depends on; None without privacy terms.

    A round that trains on features has none of its own: the last one paid for the features.
    """
    plan, terms = job.plan, job.terms
    if terms is None:
        return None
    if plan is None or plan.task != task or not trains_on_features(plan, terms):
        return records.entry_of(job.job, task)
    return records.last_entry(job.job)


def jobs_since_push(records: Records, model: str) -> tuple[JobPrivacy, ...]:
    """Read what each job has spent on a model since its weights were pushed last, oldest first."""
    found = records.jobs_on(model, records.last_pushed(model))
    return tuple(_job_privacy(records, each) for each in found)


def _job_privacy(records: Records, job: JobOnModel) -> JobPrivacy:
    spent, terms = (
        spent_by(records, job.job),
        None if job.strategy is None else job.strategy.privacy,
    )
    # Features are gathered by a plan without a round, and rounds that train on them have no entry.
    paid = 1 if spent is not None and spent.mechanism == "mistnet" else job.rounds
    return JobPrivacy(
        job=job.job,
        rounds=job.rounds,
        running=job.running,
        spent=spent,
        failed=max(0, records.entries(job.job) - paid),
        first_version=job.first_version,
        last_version=job.last_version,
        submitted=job.submitted,
        mechanism=None if terms is None else terms.mechanism,
    )
