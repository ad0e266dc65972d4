"""`fedbus agents`: who is there, and what each can do."""

import asyncio
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer

from fedbus.cli.context import broker_of
from fedbus.cli.output import display
from fedbus.cli.output.agent_remarks import remarks
from fedbus.client.address import Where
from fedbus.client.connection import connected
from fedbus.errors import WireError
from fedbus.mqtt.bus import Packet
from fedbus.wire import codec
from fedbus.wire.documents import NodeState
from fedbus.wire.timestamps import moment_of
from fedbus.wire.topics import NODE_STATE
from fedbus.wire.values import role_of

KEPT_SECONDS = float(NODE_STATE.expiry or 0)
LONG_AGO = 1800.0
"""Who is online repeats itself every twelve heartbeats, a minute by default, 720 s at most."""


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
    shown = [one for one in states if everybody or role_of(one.state.node) == "agent"]
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


@dataclass(frozen=True, slots=True)
class Seen:
    """What a node said of itself, and how many seconds ago, if that can be told."""

    state: NodeState
    seconds: float | None


async def nodes(here: Where) -> list[Seen]:
    """Read what every node says of itself; what cannot be read is left out."""
    async with connected(here) as client:
        return seen(await client.retained(here.topic(NODE_STATE, node="+")))


def seen(packets: Iterable[Packet]) -> list[Seen]:
    """Read what is retained of nodes, and its age by what is left of its expiry.

    So the broker's clock alone counts, and a device's may be wrong. A broker that shortens what it
    is asked to keep would make everybody old; those that are online tell, who repeat themselves.
    """
    found = []
    for packet in packets:
        try:
            state = codec.from_json(NodeState, packet.payload)
        except WireError:
            continue  # of another version of fedbus, perhaps
        left = packet.expiry
        found.append(Seen(state, None if left is None else max(0.0, KEPT_SECONDS - left)))
    if any(one.state.online and (one.seconds or 0.0) > LONG_AGO for one in found):
        return [replace(one, seconds=None) for one in found]
    return found


def troubles(states: Iterable[NodeState]) -> Iterator[str]:
    """Say what a person should look at: of the services too, whom the table leaves out."""
    for state in states:
        if state.trouble and state.online:
            yield f"{state.node}: {state.trouble}"


def _plain(one: Seen) -> Any:  # noqa: ANN401 - JSON
    ago = {} if one.seconds is None else {"seen": moment_of(time.time() - one.seconds)}
    return {**codec.to_plain(one.state), **ago}


def _row(one: Seen) -> tuple[object, ...]:
    state, ago = one.state, "" if one.seconds is None else display.age(one.seconds)
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
