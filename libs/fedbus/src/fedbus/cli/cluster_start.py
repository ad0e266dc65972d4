"""Start of a local cluster: all nodes online, a model pushed."""

import asyncio
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path

from fedbus.cli.output import display
from fedbus.cli.output.encryption_text import short_key_id
from fedbus.client.address import BrokerLogin, node_of
from fedbus.client.asyncio_client import Client
from fedbus.client.connection import ClientConnection
from fedbus.client.failures import Failed
from fedbus.client.packed_model import PackedModel
from fedbus.client.packing import read_model
from fedbus.client.task_group_errors import one_error
from fedbus.cluster.local import LocalCluster
from fedbus.cluster.process import Process, cause_of
from fedbus.mqtt.bus import BrokerAddress, Packet
from fedbus.wire import codec
from fedbus.wire.documents import NodeState
from fedbus.wire.topics import NODE_STATE

START_SECONDS = 90.0
POLL_SECONDS = 0.2


async def start(cluster: LocalCluster) -> BrokerLogin:
    """Start a cluster's members after its broker, and wait until all are online.

    Raises:
        Failed: a member ended (the message has the end of its log), or the start took too long.
    """
    await _clear_node_states(_login(cluster.up_address))
    await cluster.start_members()
    here = _login(cluster.address)
    missing = set(cluster.processes)
    try:
        with display.status(f"starting {len(missing)} services") as report, one_error():
            async with asyncio.timeout(START_SECONDS), asyncio.TaskGroup() as tasks:
                guard = tasks.create_task(watch_members(cluster), name="guard")
                await _all_online(here, missing, report)
                guard.cancel()
    except TimeoutError:
        late = ", ".join(sorted(missing))
        raise Failed(
            f"not online after {START_SECONDS:g} s: {late}; logs: {cluster.logs}"
        ) from None
    return here


def _login(address: BrokerAddress) -> BrokerLogin:
    return BrokerLogin(address, node_of(address.username))


async def _clear_node_states(here: BrokerLogin) -> None:
    """Clear the retained states of nodes: none runs yet, and some may not be started again."""
    async with ClientConnection(here) as connection:
        for packet in await connection.retained(here.topic(NODE_STATE, node="+")):
            await connection.clear(packet.topic)


async def _all_online(here: BrokerLogin, missing: set[str], report: Callable[[str], None]) -> None:
    count = len(missing)
    states = here.topic(NODE_STATE, node="+")
    async with ClientConnection(here) as connection, connection.subscribed(states) as subscription:
        for packet in await connection.all_retained(subscription):
            _remove_online(missing, packet)
        if not missing:
            return
        async for packet in subscription.news():
            _remove_online(missing, packet)
            report(f"starting {count} services: {count - len(missing)} are online")
            if not missing:
                return


def _remove_online(missing: set[str], packet: Packet) -> None:
    state = codec.from_json(NodeState, packet.payload)
    if state.online:
        missing.discard(state.node)


async def watch_members(cluster: LocalCluster) -> None:
    """Wait until the broker or a member ends.

    Raises:
        Failed: one ended; the message has the end of its log.
    """
    while not (exited := cluster.exited()):
        if cluster.broker.pid is None:
            raise Failed(f"the broker ended; its log: {cluster.broker.log}")
        await asyncio.sleep(POLL_SECONDS)
    raise Failed(exit_message(exited[0]))


def exit_message(process: Process) -> str:
    """Format how a member ended, with the end of its log."""
    cause = cause_of(process.exit_code or 0)
    return f"{process.node} {cause}; the end of {process.log}:\n{process.log_tail()}"


async def push_digits(here: BrokerLogin) -> str:
    """Push the digits model unless the repository has it; return a sentence that reports it."""
    async with Client(here) as fed:
        known = [each for each in await fed.models() if each.model == "digits"]
        if known:
            return f"the repository has model digits, version {known[0].version}"
        pushed = await fed.push(await asyncio.to_thread(digits_model))
    return f"pushed model {pushed.model}, version {pushed.version}"


def digits_model() -> PackedModel:
    """Read the digits model in the package."""
    with as_file(files("fedbus.demo_data")) as folder:
        return read_model(Path(folder) / "model.json")


def describe_key(folder: Path) -> str:
    """Format which key a cluster encrypts with; "" if the folder has none.

    Raises:
        SettingsError: The folder has a file that is no key.
    """
    from fedbus.encryption.key_files import PUBLIC_NAME, SECRET_NAME, load_key

    found = [folder / name for name in (PUBLIC_NAME, SECRET_NAME) if (folder / name).exists()]
    if not found:
        return ""
    key = short_key_id(load_key(found[0]).id)
    return f"encrypted jobs use the keys in {folder}, key {key}"
