"""How each service comes to life in a ring: the same core as in its own process, on the same store.

The one place where the library reaches for the services; they are imported here and nowhere else.
"""

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from fedbus import plugins
from fedbus.blobs.spool import Spools
from fedbus.plugins import Aggregator
from fedbus.runtime.identity import Identity
from fedbus.simulation.ring import Birth, Life
from fedbus.wire.documents import AgentFacts
from fedbus.wire.timestamps import format_timestamp
from fedbus_collector.app import aggregator
from fedbus_collector.core import CollectorCore
from fedbus_collector.model_cache import ModelCache
from fedbus_collector.rounds.round_collector import RoundResources
from fedbus_controller.app import check_plugins, selector
from fedbus_controller.core import ControllerCore
from fedbus_edge_agent.core import AgentCore
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_edge_agent.training.task_runner import TaskRunner
from fedbus_repository.core import RepositoryCore
from fedbus_repository.stores.sqlite.store import SqliteStore

REPOSITORY, CONTROLLER, COLLECTOR = "repository.1", "controller.1", "collector.1"
SERVICES = (REPOSITORY, CONTROLLER, COLLECTOR)

Role = Literal["train", "evaluate"]
_MEMORY = 1 << 32


def new_secret() -> bytes:
    """Make a secret nobody can guess; a replayable run brings its own."""
    return secrets.token_bytes(32)


def long_ago() -> str:
    """Tell the time on a clock that stands still, so that a run can be replayed."""
    return format_timestamp(0.0)


def repository(
    folder: Path,
    secret: Callable[[], bytes] = new_secret,
    utc: Callable[[], str] = long_ago,
) -> Birth:
    """Make a repository on a real store in a folder, which syncs nothing."""

    def birth(identity: Identity) -> Life:
        store = SqliteStore(folder, durable=False, secret=secret, now=utc)
        return Life(RepositoryCore(identity.name, store), store.open_blob, store.close)

    return birth


def controller(heartbeat_seconds: float, utc: Callable[[], str] = long_ago) -> Birth:
    """Make a controller."""

    def birth(identity: Identity) -> Life:
        beat = heartbeat_seconds
        core = ControllerCore(identity.incarnation, REPOSITORY, beat, selector, check_plugins, utc)
        return Life(core)

    return birth


def collector(find: Callable[[str], Aggregator] = aggregator) -> Birth:
    """Make a collector."""

    def birth(identity: Identity) -> Life:
        resources = RoundResources(Spools(_MEMORY), ModelCache(), find)
        return Life(CollectorCore(identity.incarnation, REPOSITORY, resources))

    return birth


def agent(
    folder: Path,
    bench: Callable[[str, Outbox], TaskRunner],
    role: Role,
    examples: int,
    form: Mapping[str, Any] | None = None,
) -> Birth:
    """Make an agent that keeps its updates under a folder and works at a bench of one's own.

    `form` is the format that it announces; by default it announces none.
    """

    def birth(identity: Identity) -> Life:
        outbox = Outbox(folder / identity.name)

        def facts(task: str, models: dict[str, int]) -> AgentFacts:
            return AgentFacts(
                roles=(role,),
                examples=examples,
                cores=1,
                memory_mb=_MEMORY >> 20,
                storage_mb=_MEMORY >> 20,
                gpu=False,
                frameworks=dict.fromkeys(plugins.installed_names("trainers"), ""),
                models=models,
                format=dict(form or {}),
                task=task,
            )

        work = bench(identity.name, outbox)
        return Life(AgentCore(work, outbox, Spools(_MEMORY), facts))

    return birth
