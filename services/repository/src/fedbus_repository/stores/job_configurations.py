"""Configurations of job files: read from a file, and entered once. Pure."""

from fedbus.jobs import JobFileError, configuration_id, configuration_of
from fedbus.wire.identifiers import Timestamp
from fedbus_repository.stores.record_database import Records
from fedbus_repository.stores.records import ConfigurationEntry, StoredConfiguration


def readable_configuration(file: bytes) -> bytes | None:
    """Return the configuration of a job file; None if the file is not JSON."""
    try:
        return configuration_of(file)
    except JobFileError:
        return None


def id_of_file(file: bytes) -> str | None:
    """Return the id of a job file's configuration; None if the file is not JSON."""
    configuration = readable_configuration(file)
    return None if configuration is None else configuration_id(configuration)


def enter_configuration(
    records: Records, model: str, configuration: bytes, at: Timestamp
) -> ConfigurationEntry:
    """Write a configuration unless it is there already."""
    name = configuration_id(configuration)
    known = records.configuration(name)
    if known is not None:
        return ConfigurationEntry(stored=known, known=True)
    newest = records.configurations(None, 1)
    new = StoredConfiguration(
        configuration=name,
        model=model,
        number=newest[0].number + 1 if newest else 1,
        file=configuration,
        at=at,
    )
    records.insert_configuration(new)
    return ConfigurationEntry(stored=new, known=False)
