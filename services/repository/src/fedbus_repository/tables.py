"""The tables of the embedded store."""

SCHEMA = 1
"""Raised when the tables change; a store of another one is refused."""

TABLES = (
    """CREATE TABLE lease (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        holder TEXT NOT NULL, incarnation INTEGER NOT NULL, epoch INTEGER NOT NULL)""",
    """CREATE TABLE jobs ( job TEXT PRIMARY KEY, model TEXT NOT NULL, file BLOB NOT NULL, digest
        TEXT NOT NULL, secret BLOB NOT NULL, phase TEXT NOT NULL DEFAULT 'running', reason TEXT NOT
        NULL DEFAULT '', created TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, base INTEGER NOT NULL,
        plan BLOB)""",
    "CREATE UNIQUE INDEX one_running_job ON jobs (model) WHERE phase = 'running'",
    """CREATE TABLE versions (
        model TEXT NOT NULL, version INTEGER NOT NULL, parent INTEGER,
        digest TEXT NOT NULL, size INTEGER NOT NULL, card TEXT NOT NULL, card_size INTEGER NOT NULL,
        job TEXT, round INTEGER NOT NULL, contributors INTEGER NOT NULL, record BLOB,
        metrics TEXT NOT NULL, scored INTEGER NOT NULL DEFAULT 0, pinned INTEGER NOT NULL,
        kept INTEGER NOT NULL DEFAULT 1, created TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
        PRIMARY KEY (model, version), UNIQUE (job, round))""",
    "CREATE INDEX kept_weights ON versions (digest) WHERE kept = 1",
    """CREATE TABLE contributors (
        job TEXT NOT NULL, task INTEGER NOT NULL, agent TEXT NOT NULL,
        PRIMARY KEY (job, task, agent)) WITHOUT ROWID""",
    "CREATE TABLE files (digest TEXT PRIMARY KEY) WITHOUT ROWID",
)
