# ruff: noqa: D102 - the methods are documented in Store
"""Answers about stored jobs: their files, results and configurations."""

from dataclasses import replace

from fedbus.energy.energy_sums import total_energy
from fedbus.jobs import JobFileError, configuration_of, format_faults, parse
from fedbus_repository.stores import rules
from fedbus_repository.stores.job_configurations import enter_configuration, id_of_file
from fedbus_repository.stores.job_decisions import JobDecisions
from fedbus_repository.stores.ledger_decisions import unknown_model
from fedbus_repository.stores.ledger_reading import spent_by
from fedbus_repository.stores.record_database import Records
from fedbus_repository.stores.records import (
    ConfigurationEntry,
    JobFacts,
    StoredConfiguration,
    StoreRefusal,
    Version,
)


class JobRecordDecisions(JobDecisions):
    """The part of a `Store` that users read of jobs, and their configurations."""

    def job_facts(self, job: str) -> JobFacts | StoreRefusal:
        with self._database.reading(f"reading the result of job {job}") as records:
            found = _facts(records, job)
        if found is None:
            return StoreRefusal(rules.unknown_job(job), kind="unknown")
        return _configured(found)

    def rounds_of(self, job: str, limit: int, before: int | None = None) -> tuple[Version, ...]:
        with self._database.reading(f"reading the rounds of job {job}") as records:
            return records.rounds_of(job, limit, before)

    def jobs_of_model(
        self, model: str, limit: int, before: str | None = None
    ) -> tuple[JobFacts, ...] | StoreRefusal:
        with self._database.reading(f"reading the results of model {model}") as records:
            earlier = None if before is None else records.job(before)
            is_known = before is None or (earlier is not None and earlier.model == model)
            names = records.jobs_of(model, limit, before) if is_known else ()
            if not names and records.latest(model) is None:  # read only then: it may be damaged
                return unknown_model(records, model)
            if before is not None and not is_known:
                return StoreRefusal(rules.unknown_job(before), kind="unknown")
            found = [_facts(records, name) for name in names]
        return tuple(_configured(each) for each in found if each is not None)

    def store_configuration(self, file: bytes) -> ConfigurationEntry | StoreRefusal:
        try:
            model, configuration = parse(file).model_name, configuration_of(file)
        except JobFileError as error:
            reason = format_faults("the configuration is not valid", error.faults)
            return StoreRefusal(reason, kind="invalid")
        with self._database.writing(f"storing a configuration of model {model}") as records:
            if records.latest(model) is None:
                return replace(unknown_model(records, model), kind="invalid")  # of the file
            return enter_configuration(records, model, configuration, self._now())

    def configuration(self, name: str) -> StoredConfiguration | StoreRefusal:
        with self._database.reading(f"reading configuration {name}") as records:
            found = records.configuration(name)
            if found is None:
                return StoreRefusal(rules.unknown_configuration(name), kind="unknown")
            return found

    def configurations(
        self, model: str | None, limit: int, before: int | None = None
    ) -> tuple[StoredConfiguration, ...] | StoreRefusal:
        with self._database.reading("listing configurations") as records:
            if model is not None and records.latest(model) is None:
                return unknown_model(records, model)
            return records.configurations(model, limit, before)


def _configured(facts: JobFacts) -> JobFacts:
    """Add the id of the configuration: job files take a while to parse, and others may go on."""
    return replace(facts, configuration=id_of_file(facts.job.file))


def _facts(records: Records, name: str) -> JobFacts | None:
    """Read all but the configuration."""
    job = records.job(name)
    if job is None:
        return None
    return JobFacts(
        job=job,
        configuration=None,
        last=job.latest if job.rounds else None,
        spent=None if job.terms is None else spent_by(records, name),
        energy=total_energy(records.energy_of(name)),
    )
