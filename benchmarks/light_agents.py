"""Many agents with simulated training in one process.

    python -m benchmarks.light_agents --agents 250 --name-prefix a --home DIR
    python -m benchmarks.light_agents --names agent.a agent.b --passwords FILE --home DIR

Each has its own node, connection and outbox, as agents on separate machines have. FEDBUS_BROKER is
the broker's address without a user; FILE is a JSON object of passwords by node.
"""

import argparse
import asyncio
import json
import os
import random
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog

from benchmarks.simulated_trainer import SimulatedTrainer
from fedbus.blobs.spool import Spools
from fedbus.core import clock
from fedbus.mqtt.bus import BrokerAddress
from fedbus.runtime import telemetry
from fedbus.runtime.identity import Identity
from fedbus.runtime.node import Node
from fedbus.runtime.reconnection import keep_connected
from fedbus.runtime.shell import Shell
from fedbus_edge_agent.core import AgentCore
from fedbus_edge_agent.host.capabilities import measure
from fedbus_edge_agent.training.outbox import Outbox

log = structlog.get_logger()

IN_MEMORY = 8 * 2**30
EXAMPLES = 10
FORM = {"kind": "none"}


def agent(name: str, home: Path) -> Shell:
    """Build one agent."""
    outbox = Outbox(home / name)
    facts = partial(measure, ("train",), EXAMPLES, FORM, home)
    core = AgentCore(SimulatedTrainer(outbox, EXAMPLES), outbox, Spools(IN_MEMORY, home), facts)
    identity = Identity(name=name, incarnation=clock.incarnation())
    return Shell(Node(identity, core, random.Random(), vitals=telemetry.vitals), threads=1)


def log_traffic(shells: list[Shell]) -> None:
    """Log the bytes that all agents sent and received, as a service does at its stop."""
    facts = {}
    for way in ("received", "sent"):
        counts = [shell.traffic[way] for shell in shells]
        facts[way] = sum(count for count, _ in counts)
        facts[f"{way}_bytes"] = sum(size for _, size in counts)
    log.info("service_stopped", **facts)


async def live(names: list[str], passwords: dict[str, str], home: Path) -> None:
    """Run the agents until SIGTERM."""
    broker = BrokerAddress.parse(os.environ["FEDBUS_BROKER"])
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with asyncio.TaskGroup() as tasks:
        kept = []
        for name in names:
            password = passwords.get(name)
            address = replace(broker, username=name, password=password) if password else broker
            shell = agent(name, home)
            keep = keep_connected(shell, address, random.Random())
            kept.append((shell, tasks.create_task(keep, name=name)))
        await stop.wait()
        for shell, task in kept:
            task.cancel()
            shell.close()
        log_traffic([shell for shell, _ in kept])


def main() -> None:
    """Run a fleet of light agents."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--agents", type=int, default=1)
    parser.add_argument("--name-prefix", default="light-")
    parser.add_argument("--names", nargs="+", help="their addresses, instead of a number")
    parser.add_argument("--passwords", type=Path, help="a JSON file, from node to password")
    parser.add_argument("--home", type=Path, required=True, help="where updates are kept")
    options = parser.parse_args()
    telemetry.configure_logging("json", "info")
    made = [f"agent.{options.name_prefix}{number}" for number in range(options.agents)]
    passwords = json.loads(options.passwords.read_text()) if options.passwords else {}
    asyncio.run(live(options.names or made, passwords, options.home))


if __name__ == "__main__":
    main()
