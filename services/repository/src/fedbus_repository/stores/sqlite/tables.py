"""Table definitions of the embedded store, and their upgrades."""

from collections.abc import Mapping

from fedbus_repository.stores.sqlite.old_records import (
    Upgrade,
    enter_configurations,
    fill_bases,
    name_strategies,
)

SCHEMA = 7
"""Version of the tables; an older store is upgraded, a newer one refused."""

_KEPT_ARRAYS = "CREATE INDEX kept_arrays ON versions (arrays) WHERE kept = 1 AND arrays IS NOT NULL"

_LEDGER = """CREATE TABLE ledger (
    job TEXT NOT NULL, number INTEGER NOT NULL, task INTEGER NOT NULL, agents INTEGER NOT NULL,
    spent BLOB NOT NULL, entry BLOB NOT NULL,
    PRIMARY KEY (job, number), UNIQUE (job, task))"""
_KEPT_BLOBS = """CREATE TABLE kept_blobs (
    digest TEXT NOT NULL, model TEXT NOT NULL, version INTEGER NOT NULL,
    PRIMARY KEY (digest, model, version)) WITHOUT ROWID"""
_KEPT_OF_VERSIONS = "CREATE INDEX kept_of_versions ON kept_blobs (model, version)"
_BRANCHES = "CREATE INDEX branches ON versions (model, version, base) WHERE base IS NOT version - 1"
_KEPT_VERSIONS = "CREATE INDEX kept_versions ON versions (model, version) WHERE kept = 1"
_PUSHED_VERSIONS = """CREATE INDEX pushed_versions ON versions (model, version)
    WHERE job IS NULL AND derived IS NULL"""
_NAME_CHANGES = """CREATE TABLE name_changes (
    model TEXT NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL, change BLOB NOT NULL,
    PRIMARY KEY (model, number)) WITHOUT ROWID"""
_NAMES = "CREATE INDEX names ON name_changes (model, name, number)"
_MODEL_JOBS = "CREATE INDEX model_jobs ON jobs (model, base)"
_DOCUMENTS = """CREATE TABLE documents (
    kind TEXT NOT NULL, name TEXT NOT NULL, content BLOB NOT NULL, blob TEXT, blob_size INTEGER,
    created TEXT NOT NULL, changed TEXT NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID"""
_DOCUMENT_BLOBS = "CREATE INDEX document_blobs ON documents (blob) WHERE blob IS NOT NULL"
_CONFIGURATIONS = """CREATE TABLE configurations (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, model TEXT NOT NULL, file BLOB NOT NULL,
    created TEXT NOT NULL)"""
_MODEL_CONFIGURATIONS = "CREATE INDEX model_configurations ON configurations (model, number)"

TABLES = (
    """CREATE TABLE lease (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        holder TEXT NOT NULL, incarnation INTEGER NOT NULL, epoch INTEGER NOT NULL)""",
    """CREATE TABLE jobs ( job TEXT PRIMARY KEY, model TEXT NOT NULL, file BLOB NOT NULL, digest
        TEXT NOT NULL, secret BLOB NOT NULL, phase TEXT NOT NULL DEFAULT 'running', reason TEXT NOT
        NULL DEFAULT '', created TEXT NOT NULL, base INTEGER NOT NULL, plan BLOB,
        ended TEXT, forgotten INTEGER NOT NULL DEFAULT 0, origin TEXT, unsettled INTEGER,
        continues INTEGER NOT NULL DEFAULT 0, strategy BLOB, noise_key TEXT)""",
    "CREATE UNIQUE INDEX one_running_job ON jobs (model) WHERE phase = 'running'",
    "CREATE INDEX job_origins ON jobs (origin) WHERE origin IS NOT NULL",
    """CREATE TABLE versions (
        model TEXT NOT NULL, version INTEGER NOT NULL, parent INTEGER,
        digest TEXT NOT NULL, size INTEGER NOT NULL, spec TEXT NOT NULL, spec_size INTEGER NOT NULL,
        job TEXT, round INTEGER NOT NULL, contributors INTEGER NOT NULL, record BLOB,
        metrics TEXT NOT NULL, scored INTEGER NOT NULL DEFAULT 0, pinned INTEGER NOT NULL,
        kept INTEGER NOT NULL DEFAULT 1, created TEXT NOT NULL,
        strategy BLOB, state BLOB, privacy BLOB, encryption BLOB, thin BLOB, derived BLOB,
        energy BLOB, base INTEGER,
        PRIMARY KEY (model, version), UNIQUE (job, round))""",
    _KEPT_BLOBS,
    _KEPT_OF_VERSIONS,
    """CREATE TABLE contributors (
        job TEXT NOT NULL, task INTEGER NOT NULL, agent TEXT NOT NULL,
        PRIMARY KEY (job, task, agent)) WITHOUT ROWID""",
    "CREATE TABLE files (digest TEXT PRIMARY KEY) WITHOUT ROWID",
    _LEDGER,
    _MODEL_JOBS,
    _DOCUMENTS,
    _DOCUMENT_BLOBS,
    _BRANCHES,
    _KEPT_VERSIONS,
    _PUSHED_VERSIONS,
    _NAME_CHANGES,
    _NAMES,
    _CONFIGURATIONS,
    _MODEL_CONFIGURATIONS,
)

UPGRADES: Mapping[int, tuple[str | Upgrade, ...]] = {
    1: (
        "ALTER TABLE jobs ADD COLUMN ended TEXT",
        "ALTER TABLE jobs ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0",
        "UPDATE jobs SET created = replace(created, ' ', 'T') || '.000Z'",
        "UPDATE versions SET created = replace(created, ' ', 'T') || '.000Z'",
    ),
    2: (
        "ALTER TABLE jobs ADD COLUMN origin TEXT",
        "ALTER TABLE jobs ADD COLUMN unsettled INTEGER",
        "CREATE INDEX job_origins ON jobs (origin) WHERE origin IS NOT NULL",
    ),
    3: (
        "ALTER TABLE jobs ADD COLUMN continues INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE versions ADD COLUMN strategy BLOB",
        "ALTER TABLE versions ADD COLUMN state BLOB",
        "ALTER TABLE versions ADD COLUMN arrays TEXT",
        _KEPT_ARRAYS,
        name_strategies,
    ),
    4: (
        "ALTER TABLE jobs ADD COLUMN strategy BLOB",
        "ALTER TABLE jobs ADD COLUMN noise_key TEXT",
        "ALTER TABLE versions ADD COLUMN privacy BLOB",
        _LEDGER,
        _MODEL_JOBS,
    ),
    5: (
        "ALTER TABLE versions ADD COLUMN encryption BLOB",
        "ALTER TABLE versions ADD COLUMN thin BLOB",
        "ALTER TABLE versions ADD COLUMN derived BLOB",
        "ALTER TABLE versions ADD COLUMN energy BLOB",
        _KEPT_BLOBS,
        _KEPT_OF_VERSIONS,
        "INSERT INTO kept_blobs SELECT digest, model, version FROM versions WHERE kept = 1",
        """INSERT OR IGNORE INTO kept_blobs SELECT arrays, model, version FROM versions
        WHERE kept = 1 AND arrays IS NOT NULL""",
        "DROP INDEX kept_weights",
        "DROP INDEX kept_arrays",
        "ALTER TABLE versions DROP COLUMN arrays",
    ),
    6: (
        _DOCUMENTS,
        _DOCUMENT_BLOBS,
        "ALTER TABLE versions ADD COLUMN base INTEGER",
        fill_bases,
        _BRANCHES,
        _KEPT_VERSIONS,
        _PUSHED_VERSIONS,
        _NAME_CHANGES,
        _NAMES,
        _CONFIGURATIONS,
        _MODEL_CONFIGURATIONS,
        enter_configurations,
    ),
}
"""Statements and functions that upgrade the tables of a schema to the next one."""
