"""All records in SQLite: the `Records` of the embedded store."""

from fedbus_repository.stores.sqlite.configuration_rows import ConfigurationRows
from fedbus_repository.stores.sqlite.document_rows import DocumentRows
from fedbus_repository.stores.sqlite.job_rows import JobRows
from fedbus_repository.stores.sqlite.name_rows import NameRows


class SqliteRecords(JobRows, NameRows, DocumentRows, ConfigurationRows):
    """`Records` of an open database; the caller has its lock, and a transaction for writes."""
