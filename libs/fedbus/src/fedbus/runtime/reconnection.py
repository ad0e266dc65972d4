"""Reconnection: one connection to the broker after another, with pauses between."""

import asyncio
import random

from fedbus.core import clock
from fedbus.errors import BusError
from fedbus.mqtt import client as mqtt
from fedbus.mqtt.bus import BrokerAddress
from fedbus.mqtt.login import TAKEN_OVER
from fedbus.runtime.name_conflict import SETTLED_SECONDS
from fedbus.runtime.shell import Shell
from fedbus.runtime.small_structlog import structlog

log = structlog.get_logger()

FIRST_PAUSE_SECONDS = 0.2
LONGEST_RECONNECT_SECONDS = 2.0
STEADY_SECONDS = 10.0
CONFLICT_PAUSE_SECONDS = 30.0
LONGEST_CONFLICT_SECONDS = 600.0
"""Between logins while another process uses this node's name: each login disconnects it."""


async def keep_connected(shell: Shell, address: BrokerAddress, rng: random.Random) -> None:
    """Serve over one connection after another, with a jittered pause after each.

    No connection is opened once the shell is stopping. A cancellation alone would not suffice: in
    Python 3.11 a task group whose task fails at that moment raises the failure instead.
    """
    node, pause, lacks = shell.node, FIRST_PAUSE_SECONDS, tuple[str, ...]()
    while True:
        began = clock.monotonic()
        try:
            async with mqtt.connect(
                address,
                name=node.identity.name,
                listen=node.subscriptions(),
                keep=node.kept_subscriptions(),
                will=node.will_packet(),
                lend=True,
            ) as bus:
                log.info("bus_connected", broker=f"{address.host}:{address.port}")
                for lack in bus.lacks if bus.lacks != lacks else ():
                    log.warning("broker_lacks", reason=lack)
                lacks = bus.lacks
                await shell.serve(bus)
        except* BusError as broken:
            log.warning("bus_lost", reason=str(broken.exceptions[0]))
            if getattr(broken.exceptions[0], "code", None) == TAKEN_OVER:
                node.conflict.taken_over()
        if shell.stopping.is_set():
            return
        lasted = clock.monotonic() - began
        if lasted > STEADY_SECONDS:
            pause = FIRST_PAUSE_SECONDS
            node.conflict.connection_lasted()
        if lasted > SETTLED_SECONDS:
            node.conflict.resolved()
        await asyncio.sleep(pause_after(pause, node.conflict.count, rng))
        pause = min(pause * 2, LONGEST_RECONNECT_SECONDS)


def pause_after(usual: float, conflicts: int, rng: random.Random) -> float:
    """Return the seconds until the next login, after `conflicts` with a process of this name."""
    if not conflicts:
        return usual * rng.uniform(0.5, 1.5)
    most = CONFLICT_PAUSE_SECONDS * 2.0 ** min(conflicts - 1, 10)
    return min(most, LONGEST_CONFLICT_SECONDS) * rng.uniform(1.0, 2.0)
