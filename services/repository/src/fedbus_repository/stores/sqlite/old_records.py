"""Records of earlier schemas, rewritten as later ones are.

Round records of schema 3 and earlier had `weighted` instead of a strategy, and no coefficients:
each update had its number of examples, or 1, as its weight in the mean. Stores of schema 6 and
earlier had no configurations.
"""

import json
import sqlite3
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgpack

from fedbus.jobs import JobFileError, configuration_id, configuration_of
from fedbus.training.params import PluginChoice
from fedbus.wire import codec
from fedbus.wire.strategies import Strategy

Upgrade: TypeAlias = Callable[[sqlite3.Connection], None]

FEDAVG: Final = "fedavg"
"""The aggregator of a job file that named none."""


def name_strategies(db: sqlite3.Connection) -> None:
    """Add the strategy to each record, and its coefficient to each contributor."""
    aggregators = {job: _aggregator(file) for job, file in db.execute("SELECT job, file FROM jobs")}
    found = "SELECT rowid, job, record FROM versions WHERE record IS NOT NULL AND rowid > ? LIMIT 1"
    last = 0
    while (row := db.execute(found, (last,)).fetchone()) is not None:
        last, job, record = row
        plain = msgpack.unpackb(record)
        if "strategy" not in plain:
            _add_strategy(plain, aggregators.get(job, FEDAVG))
        db.execute(
            "UPDATE versions SET record = ?, strategy = ? WHERE rowid = ?",
            (msgpack.packb(plain), msgpack.packb(plain["strategy"]), last),
        )


def fill_bases(db: sqlite3.Connection) -> None:
    """Write the base of each version that was not pushed: of its round, or its source."""
    db.execute("UPDATE versions SET base = parent WHERE job IS NOT NULL")
    found = "SELECT rowid, derived FROM versions WHERE derived IS NOT NULL"
    for row, derived in db.execute(found).fetchall():
        source = msgpack.unpackb(derived)["version"]
        db.execute("UPDATE versions SET base = ? WHERE rowid = ?", (source, row))


def enter_configurations(db: sqlite3.Connection) -> None:
    """Add the configuration of each job, the oldest first."""
    for model, file, created in db.execute(
        "SELECT model, file, created FROM jobs ORDER BY rowid"
    ).fetchall():
        try:
            content = configuration_of(file)
        except JobFileError:
            continue
        db.execute(
            "INSERT OR IGNORE INTO configurations (id, model, file, created) VALUES (?, ?, ?, ?)",
            (configuration_id(content), model, content, created),
        )


def _add_strategy(record: dict[str, Any], aggregator: str) -> None:
    strategy = _strategy(aggregator, weighted=record.pop("weighted", True))
    record["strategy"] = msgpack.unpackb(codec.pack(strategy))
    if strategy.id == FEDAVG:
        _add_coefficients(record["contributors"], strategy)


def _aggregator(file: bytes) -> str:
    """Return the aggregator that a job file named."""
    try:
        named = json.loads(file)["plugins"]["aggregator"]
    except (ValueError, LookupError, TypeError):
        return FEDAVG
    return str(named)


def _strategy(aggregator: str, *, weighted: bool) -> Strategy:
    if aggregator != FEDAVG:  # what a plug-in did with the weights is not known
        return Strategy(id=aggregator, aggregator=PluginChoice(id=aggregator))
    mean = PluginChoice(id="mean", parameters={"weighted": weighted})
    return Strategy(id=FEDAVG, aggregator=mean)


def _add_coefficients(contributors: list[dict[str, Any]], strategy: Strategy) -> None:
    weighted = strategy.aggregator.parameters["weighted"]
    weights = [float(each["examples"]) if weighted else 1.0 for each in contributors]
    for each, weight in zip(contributors, weights, strict=True):
        each["coefficient"] = weight / sum(weights)
