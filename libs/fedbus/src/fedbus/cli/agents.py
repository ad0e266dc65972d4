"""`fedbus agents`: who is there, and what each can do."""

import asyncio
from typing import Annotated

import typer

from fedbus.cli import show
from fedbus.cli.client import connected
from fedbus.cli.here import broker_of
from fedbus.cli.where import Where
from fedbus.errors import WireError
from fedbus.wire import codec
from fedbus.wire.states import NodeState
from fedbus.wire.topics import NODE_STATE
from fedbus.wire.values import role_of


def agents(
    ctx: typer.Context,
    everybody: Annotated[
        bool, typer.Option("--all", help="The services as well, not only agents.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List the agents: online or not, roles, data, frameworks, what each is doing.

    They say it themselves, and their last will takes it back when a connection breaks.
    """
    states = asyncio.run(nodes(broker_of(ctx)))
    shown = [state for state in states if everybody or role_of(state.node) == "agent"]
    if as_json:
        show.print_json([codec.to_plain(state) for state in shown])
        return
    show.print_table(
        ("NODE", "STATE", "ROLES", "EXAMPLES", "FRAMEWORKS", "CORES", "MEMORY", "TASK"),
        (_row(state) for state in shown),
        nothing="no agent has ever been here; docs and `fedbus up --help` say how one is started",
    )


async def nodes(here: Where) -> list[NodeState]:
    """Read what every node says of itself; what cannot be read is left out."""
    async with connected(here) as client:
        packets = await client.retained(here.topic(NODE_STATE, node="+"))
    found = []
    for packet in packets:
        try:
            found.append(codec.from_json(NodeState, packet.payload))
        except WireError:
            continue  # of another version of fedbus, perhaps
    return found


def _row(state: NodeState) -> tuple[object, ...]:
    online, facts = "online" if state.online else "offline", state.agent
    if facts is None:
        return (state.node, online, role_of(state.node), "", "", "", "", "")
    frameworks = "  ".join(
        f"{name} {version}" for name, version in sorted(facts.frameworks.items())
    )
    return (
        state.node,
        online,
        " ".join(facts.roles),
        facts.examples,
        frameworks,
        facts.cores,
        show.size(facts.memory_mb * 2**20),
        facts.task,
    )
