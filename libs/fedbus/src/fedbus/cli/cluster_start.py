"""From processes that were started to a cluster that works: everybody online, a model in place."""

import asyncio
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path

from fedbus.cli.output import display
from fedbus.client.address import BrokerLogin, node_of
from fedbus.client.asyncio_client import Client
from fedbus.client.connection import ClientConnection
from fedbus.client.failures import Failed
from fedbus.client.groups import one_error
from fedbus.client.packing import PackedModel, read_model
from fedbus.cluster.local import LocalCluster
from fedbus.cluster.process import Process, cause_of
from fedbus.mqtt.bus import BrokerAddress, Packet
from fedbus.wire import codec
from fedbus.wire.documents import NodeState
from fedbus.wire.topics import NODE_STATE

START_SECONDS = 90.0
LOOK_SECONDS = 0.2


async def start(cluster: LocalCluster) -> BrokerLogin:
    """Start a cluster's members, its broker being there, and wait until all of them are online.

    Raises:
        Failed: a member ended instead, with its last words; or it takes too long.
    """
    await _sweep(_where(cluster.up_address))
    await cluster.start_members()
    here = _where(cluster.address)
    missing = set(cluster.processes)
    try:
        with display.working(f"starting {len(missing)} services") as tell, one_error():
            async with asyncio.timeout(START_SECONDS), asyncio.TaskGroup() as tasks:
                guard = tasks.create_task(guarded(cluster), name="guard")
                await _all_online(here, missing, tell)
                guard.cancel()
    except TimeoutError:
        late = ", ".join(sorted(missing))
        raise Failed(
            f"not online after {START_SECONDS:g} s: {late}; logs: {cluster.logs}"
        ) from None
    return here


def _where(address: BrokerAddress) -> BrokerLogin:
    return BrokerLogin(address, node_of(address.username))


async def _sweep(here: BrokerLogin) -> None:
    """Clear what is retained of nodes: none of them runs yet, and some may never again."""
    async with ClientConnection(here) as connection:
        for packet in await connection.retained(here.topic(NODE_STATE, node="+")):
            await connection.clear(packet.topic)


async def _all_online(here: BrokerLogin, missing: set[str], tell: Callable[[str], None]) -> None:
    count = len(missing)
    states = here.topic(NODE_STATE, node="+")
    async with ClientConnection(here) as connection, connection.subscribed(states) as subscription:
        for packet in await connection.all_retained(subscription):
            _strike(missing, packet)
        if not missing:
            return
        async for packet in subscription.news():
            _strike(missing, packet)
            tell(f"starting {count} services: {count - len(missing)} are online")
            if not missing:
                return


def _strike(missing: set[str], packet: Packet) -> None:
    state = codec.from_json(NodeState, packet.payload)
    if state.online:
        missing.discard(state.node)


async def guarded(cluster: LocalCluster) -> None:
    """Look after a cluster of which nobody may die.

    Raises:
        Failed: somebody did, with its last words.
    """
    while not (exited := cluster.exited()):
        if cluster.broker.pid is None:
            raise Failed(f"the broker died; its log: {cluster.broker.log}")
        await asyncio.sleep(LOOK_SECONDS)
    raise Failed(obituary(exited[0]))


def obituary(process: Process) -> str:
    """Say how a member ended, with its last words."""
    cause = cause_of(process.exit_code or 0)
    return f"{process.node} {cause}; the end of {process.log}:\n{process.log_tail()}"


async def push_digits(here: BrokerLogin) -> str:
    """Bring the digits model, unless the repository has it; returns a sentence."""
    async with Client(here) as fed:
        known = [each for each in await fed.models() if each.model == "digits"]
        if known:
            return f"the repository has model digits, version {known[0].version}"
        pushed = await fed.push(await asyncio.to_thread(digits_model))
    return f"pushed model {pushed.model}, version {pushed.version}"


def digits_model() -> PackedModel:
    """Read the digits model that comes with fedbus."""
    with as_file(files("fedbus.demo_data")) as folder:
        return read_model(Path(folder) / "model.json")
