"""Resident memory of connections, in a process of their own."""

import subprocess
import sys

from fedbus.mqtt.mosquitto import LocalBroker

PROGRAM = """
import asyncio, sys
from fedbus.mqtt.bus import BrokerAddress
from fedbus.mqtt.client import connect

def resident_kib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))

async def connect_twice():
    for _ in range(2):
        async with connect(BrokerAddress.parse(sys.argv[1]), name="agent.a") as bus:
            print(resident_kib())

asyncio.run(connect_twice())
"""
GROWTH_KIB = 4096
"""Half of the block whose release tells glibc to keep chunks on the heap."""


def test_a_second_connection_takes_no_more_memory_than_the_first(broker: LocalBroker) -> None:
    """Such as after each restart of the broker."""
    line = [sys.executable, "-c", PROGRAM, broker.address("agent.a").url]
    done = subprocess.run(line, check=True, capture_output=True, text=True)
    first, second = map(int, done.stdout.split())
    assert second - first < GROWTH_KIB
