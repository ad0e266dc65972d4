"""Connection of a client as a node, for one request to the repository with blobs both ways."""

import asyncio
import logging
import random
from importlib.metadata import version
from typing import TYPE_CHECKING, TypeVar

from fedbus.client.address import Endpoint
from fedbus.client.connection import client_id
from fedbus.client.groups import one_error
from fedbus.client.repository import Errand
from fedbus.core import clock
from fedbus.errors import FedbusError
from fedbus.mqtt import client as mqtt
from fedbus.mqtt.bus import Bus, Packet
from fedbus.wire.topics import NODE_STATE

if TYPE_CHECKING:
    from fedbus.runtime.shell import Shell

IN_FLIGHT = 16 * 2**20
"""Bytes that may be on their way to or from this client at the same time."""

R = TypeVar("R")


async def run(endpoint: Endpoint, errand: Errand[R]) -> R:
    """Run a request to its end, on a connection of its own.

    Raises:
        BusError: the broker is away, refuses the account, or the connection is lost.
        FedbusError: as the request ended.
    """
    import structlog

    from fedbus.runtime.node import Identity, Node
    from fedbus.runtime.shell import Shell

    outcome: asyncio.Future[R | FedbusError] = asyncio.get_running_loop().create_future()
    errand.finish = lambda result: None if outcome.done() else outcome.set_result(result)
    identity = Identity(
        name=endpoint.node,
        incarnation=clock.incarnation(),
        version=version("fedbus"),
        root=endpoint.root,
        in_flight=IN_FLIGHT,
    )
    # A node's events are for a service's log; a client raises what its user should know.
    silent = structlog.wrap_logger(
        structlog.ReturnLogger(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
    )
    node = Node(identity, errand, random.SystemRandom())
    shell = Shell(node, threads=1, logger=silent)
    try:
        async with mqtt.connect(
            endpoint.broker,
            name=client_id(endpoint),
            listen=node.subscriptions(),
            will=node.will(),
        ) as bus:
            result = await _served(shell, bus, outcome)
            # Other nodes need not know that this one was there.
            await bus.publish(
                Packet(endpoint.topic(NODE_STATE, node=endpoint.node), b"", retain=True)
            )
    finally:
        shell.close()
    if isinstance(result, FedbusError):
        raise result
    return result


async def _served(shell: "Shell", bus: Bus, outcome: "asyncio.Future[R]") -> R:
    with one_error():
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(shell.serve(bus), name="serve")
            await outcome
            serving.cancel()
    return outcome.result()
