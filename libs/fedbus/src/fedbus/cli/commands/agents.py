"""`fedbus agents`: agents and services, their state and their capabilities."""

import time
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer

from fedbus.cli.context import AsJson, broker_of, call
from fedbus.cli.output import display
from fedbus.cli.output.agent_remarks import remarks
from fedbus.cli.output.encryption_text import short_key_id
from fedbus.client import nodes
from fedbus.client.address import BrokerLogin
from fedbus.client.results import NodeStatus
from fedbus.wire import codec
from fedbus.wire.documents import NodeState
from fedbus.wire.identifiers import role_of
from fedbus.wire.timestamps import format_timestamp


def agents(
    ctx: typer.Context,
    all_nodes: Annotated[bool, typer.Option("--all", help="List the services, too.")] = False,
    identities: Annotated[
        bool,
        typer.Option(
            "--identities",
            help="Print announced identities instead, as lines of FEDBUS_PINNED_IDENTITIES.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the agents: state, roles, data, frameworks, current task.

    Each agent publishes its state once a minute and when it changes; SAID is the age of that
    message, not of a heartbeat. When a connection breaks, the broker publishes `offline`. For a
    process that hangs or a cut network this takes up to 45 s; a job counts an agent as lost after
    six missed heartbeats. KEY is the id of a node's encryption key: agents and services of an
    encrypted job have the same.
    """
    if identities:
        _print_identities(broker_of(ctx), as_json=as_json)
        return
    states = call(broker_of(ctx), lambda fed: fed.nodes())
    shown = [one for one in states if all_nodes or one.role == "agent"]
    if as_json:
        display.print_json([_plain(one) for one in shown])
        return
    keyed = any(one.state.encryption_key is not None for one in shown)
    display.print_table(
        (
            *("NODE", "STATE", "SAID", "ROLES", "EXAMPLES", "FRAMEWORKS", "CORES", "MEMORY"),
            *("TASK", *(("KEY",) * keyed)),
        ),
        ((*_row(one), *((short_key_id(one.state.encryption_key),) * keyed)) for one in shown),
        nothing="no agent yet: `fedbus up` starts some, docs/first-device.md sets one up",
    )
    for line in remarks([one.state for one in shown]):
        display.show(line)
    for sentence in trouble_lines(one.state for one in states):
        display.warn(sentence)


def _print_identities(here: BrokerLogin, *, as_json: bool) -> None:
    """Print a line `agent.NAME KEY` for each agent that has announced a key."""
    found = call(here, lambda fed: nodes.identities(fed.connection))
    if as_json:
        display.print_json(found)
    else:
        for agent, key in found.items():
            display.print_verbatim(f"{agent} {key}")
    if found:
        display.warn(
            "these keys come from the broker, whose operator can replace them and add agents: "
            "compare each with identity.public in the agent's folder before you pin it"
        )
    else:
        display.note("no agent has announced an identity; agents that can mask updates do")


def trouble_lines(states: Iterable[NodeState]) -> Iterator[str]:
    """Yield the troubles of online nodes, services included, which the table leaves out."""
    for state in states:
        if state.trouble and state.online:
            yield f"{state.node}: {state.trouble}"


def _plain(one: NodeStatus) -> Any:  # noqa: ANN401 - JSON
    ago = (
        {} if one.age_seconds is None else {"seen": format_timestamp(time.time() - one.age_seconds)}
    )
    return {**codec.to_plain(one.state), **ago}


def _row(one: NodeStatus) -> tuple[object, ...]:
    state, ago = (
        one.state,
        "" if one.age_seconds is None else display.format_duration(one.age_seconds),
    )
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
        display.format_size(facts.memory_mb * 2**20),
        facts.task,
    )
