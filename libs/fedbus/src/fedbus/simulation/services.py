"""Factories of the services' cores for the ring: the cores and stores of a deployment.

In the library, only this module and `run` import the services.
"""

import os
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from fedbus import plugins
from fedbus.blobs.spool import Spools
from fedbus.encryption.key_files import PublicKey, SecretKey
from fedbus.runtime.identity import Identity
from fedbus.simulation.host import RunningService, ServiceFactory
from fedbus.simulation.in_process_sums import InProcessSums
from fedbus.strategies.encryption_key_faults import EncryptionKeyFacts
from fedbus.strategies.resolution import resolve_job
from fedbus.wire.documents import AgentFacts
from fedbus.wire.timestamps import format_timestamp
from fedbus_collector.app import watch_of
from fedbus_collector.collector_parts import PartsFactory
from fedbus_collector.core import CollectorCore
from fedbus_collector.encryption_key import CollectorKey
from fedbus_collector.model_cache import ModelCache
from fedbus_collector.rounds.round_components import RoundResources
from fedbus_controller.app import check_plugins, selector
from fedbus_controller.core import ControllerCore
from fedbus_edge_agent.core import AgentCore
from fedbus_edge_agent.masking.masked_tasks import MaskedTasks
from fedbus_edge_agent.masking.own_identity import OwnIdentity
from fedbus_edge_agent.masking.step_journal import StepJournals
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_edge_agent.training.task_runner import TaskRunner
from fedbus_repository.core import RepositoryCore
from fedbus_repository.stores.sqlite.store import SqliteStore

REPOSITORY, CONTROLLER, COLLECTOR = "repository.1", "controller.1", "collector.1"
SERVICES = (REPOSITORY, CONTROLLER, COLLECTOR)

Role = Literal["train", "evaluate"]
_MEMORY = 1 << 32
ANY_PARTS = PartsFactory()
"""Parts of every installed package."""


def new_secret() -> bytes:
    """Return a random secret; a run that is to be replayed passes a fixed one."""
    return secrets.token_bytes(32)


def fixed_time() -> str:
    """Return the same time at every call, so that a run can be replayed."""
    return format_timestamp(0.0)


def repository(
    folder: Path,
    secret: Callable[[], bytes] = new_secret,
    utc: Callable[[], str] = fixed_time,
    on_step: Callable[[str], None] = lambda _: None,
) -> ServiceFactory:
    """Return the factory of a repository on a real store in a folder, without fsync.

    `on_step` is called before each step on the disk.
    """

    def start(identity: Identity) -> RunningService:
        store = SqliteStore(folder, durable=False, on_step=on_step, secret=secret, now=utc)
        return RunningService(RepositoryCore(identity.name, store), store, store.close)

    return start


def controller(
    heartbeat_seconds: float,
    utc: Callable[[], str] = fixed_time,
    encryption_key: PublicKey | None = None,
) -> ServiceFactory:
    """Return the factory of a controller, with the public key of encrypted jobs if it has one."""
    facts = None
    if encryption_key is not None:
        facts = EncryptionKeyFacts(id=encryption_key.id, parameters=encryption_key.parameters)

    def start(identity: Identity) -> RunningService:
        return RunningService(
            ControllerCore(
                identity.incarnation,
                REPOSITORY,
                heartbeat_seconds,
                selector,
                partial(resolve_job, encryption=facts),
                partial(check_plugins, encryption=facts),
                utc,
                encryption_key=None if facts is None else facts.id,
            )
        )

    return start


def collector(
    parts: PartsFactory = ANY_PARTS,
    noise_key: Path | None = None,
    encryption_key: PublicKey | None = None,
) -> ServiceFactory:
    """Return the factory of a collector.

    Args:
        parts: Makes the parts of a strategy.
        noise_key: File of the key that private jobs need; it is read at each start.
        encryption_key: The public key of encrypted jobs.
    """

    def start(identity: Identity) -> RunningService:
        spools, key = Spools(_MEMORY), CollectorKey()
        if encryption_key is not None:
            key = CollectorKey(encryption_key.id, InProcessSums(encryption_key))
        resources = RoundResources(spools, ModelCache(), parts, watch_of(noise_key), key)
        return RunningService(CollectorCore(identity.incarnation, REPOSITORY, resources))

    return start


def agent(  # noqa: PLR0913, PLR0917 - the last four have a good default
    folder: Path,
    task_runner: Callable[[str, Outbox], TaskRunner],
    role: Role,
    examples: int,
    form: Mapping[str, Any] | None = None,
    outbox_in: Callable[[Path], Outbox] = Outbox,
    masked_in: Callable[[str, Outbox], MaskedTasks | None] | None = None,
    encryption_key: SecretKey | None = None,
) -> ServiceFactory:
    """Return the factory of an agent with a given task runner; its outbox is made in a folder.

    With `masked_in`, which is given its name and its outbox, it takes part in masked rounds. With
    an `encryption_key` it accepts tasks of encrypted jobs, which its runner must be able to do.
    """

    def start(identity: Identity) -> RunningService:
        outbox = outbox_in(folder / identity.name)

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

        runner = task_runner(identity.name, outbox)
        masked = None if masked_in is None else masked_in(identity.name, outbox)
        parts = runner, outbox, Spools(_MEMORY), facts
        core = AgentCore(*parts, masked=masked, encryption_key=encryption_key)
        return RunningService(core)

    return start


def masked_tasks(name: str, outbox: Outbox) -> MaskedTasks | None:
    """Make what an agent needs for masked rounds; None if `cryptography` is not installed."""
    if find_spec("cryptography") is None:
        return None
    identity = OwnIdentity.keep(name, outbox.folder)
    journals = StepJournals(outbox.folder / "masking", durable=False)
    return MaskedTasks(identity, journals, outbox, None, os.urandom)
