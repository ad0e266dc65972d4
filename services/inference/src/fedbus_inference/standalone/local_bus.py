"""Bus of a service without a broker: the repository of a folder beside it, in this process."""

import asyncio
import random
import time
from functools import partial
from pathlib import Path
from typing import Final

from fedbus.mqtt.memory_bus import MemoryNetwork
from fedbus.runtime.identity import Identity
from fedbus.runtime.node import Node
from fedbus.runtime.shell import Shell
from fedbus_inference.standalone.folder_repository import FolderRepository
from fedbus_inference.standalone.model_folders import scan_models
from fedbus_inference.standalone.packed_versions import pack_version

REPOSITORY: Final = "repository.folder"


async def serve_without_broker(shell: Shell, models: Path) -> None:
    """Run a node with the models of a folder until the task is cancelled."""
    network = MemoryNetwork(shell.node.identity.root)
    identity = Identity(name=REPOSITORY, incarnation=1, root=shell.node.identity.root)
    core = FolderRepository(REPOSITORY, partial(scan_models, models, time.time), pack_version)
    repository = Shell(Node(identity, core, random.SystemRandom()), threads=1)
    try:
        async with asyncio.TaskGroup() as tasks:
            for each in (shell, repository):
                node = each.node
                bus = network.connect(
                    node.identity.name,
                    node.subscriptions(),
                    node.kept_subscriptions(),
                    node.will_packet(),
                )
                tasks.create_task(each.serve(bus), name=node.identity.name)
    finally:
        repository.close()
