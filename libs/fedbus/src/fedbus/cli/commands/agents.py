"""`fedbus agents`: who is there, and what each can do."""

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer

from fedbus.cli.context import broker_of
from fedbus.cli.output import display
from fedbus.cli.output.agent_remarks import remarks
from fedbus.client.address import BrokerLogin
from fedbus.client.asyncio_client import Client
from fedbus.client.results import NodeStatus
from fedbus.wire import codec
from fedbus.wire.documents import NodeState
from fedbus.wire.identifiers import role_of
from fedbus.wire.timestamps import format_timestamp


def agents(
    ctx: typer.Context,
    everybody: Annotated[
        bool, typer.Option("--all", help="The services as well, not only agents.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List the agents, and what each can do.

    Online or not, roles, data, frameworks, what each is doing. They say it themselves, once a
    minute and when something changes: SAID is how long ago, and no age of a heartbeat. When a
    connection breaks the broker says offline. It takes up to 45 s to notice one that hangs or is
    cut off, which is online here until then; a job counts it as lost after six missed heartbeats.
    """
    states = asyncio.run(nodes(broker_of(ctx)))
    shown = [one for one in states if everybody or one.role == "agent"]
    if as_json:
        display.print_json([_plain(one) for one in shown])
        return
    display.print_table(
        ("NODE", "STATE", "SAID", "ROLES", "EXAMPLES", "FRAMEWORKS", "CORES", "MEMORY", "TASK"),
        (_row(one) for one in shown),
        nothing="no agent has been here; `fedbus up` starts some, docs/first-device.md sets one up",
    )
    for line in remarks([one.state for one in shown]):
        display.say(line)
    for sentence in troubles(one.state for one in states):
        display.warn(sentence)


async def nodes(here: BrokerLogin) -> tuple[NodeStatus, ...]:
    """Fetch what every node says of itself."""
    async with Client(here) as fed:
        return await fed.nodes()


def troubles(states: Iterable[NodeState]) -> Iterator[str]:
    """Say what a person should look at: of the services too, whom the table leaves out."""
    for state in states:
        if state.trouble and state.online:
            yield f"{state.node}: {state.trouble}"


def _plain(one: NodeStatus) -> Any:  # noqa: ANN401 - JSON
    ago = (
        {} if one.age_seconds is None else {"seen": format_timestamp(time.time() - one.age_seconds)}
    )
    return {**codec.to_plain(one.state), **ago}


def _row(one: NodeStatus) -> tuple[object, ...]:
    state, ago = one.state, "" if one.age_seconds is None else display.age(one.age_seconds)
    online, facts = "online" if state.online else "offline", state.agent
    if facts is None:
        return (state.node, online, ago, role_of(state.node), "", "", "", "", "")
    frameworks = "  ".join(
        f"{name} {version}" for name, version in sorted(facts.frameworks.items())
    )
    return (
        state.node,
        online,
        ago,
        " ".join(facts.roles),
        facts.examples,
        frameworks,
        facts.cores,
        display.size(facts.memory_mb * 2**20),
        facts.task,
    )
