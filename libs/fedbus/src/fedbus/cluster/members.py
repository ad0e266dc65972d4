"""Members of a local cluster: its nodes, and the environment that each is started with. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from fedbus.cluster.caller_settings import inherited
from fedbus.encryption.key_files import PUBLIC_NAME, SECRET_NAME
from fedbus.mqtt.bus import BrokerAddress
from fedbus.mqtt.mosquitto_config import new_password
from fedbus.wire.access_rules import Access, access_rules
from fedbus.wire.topic_names import wildcard
from fedbus.wire.topics import NODE_STATE, ROOT

EVALUATOR = "evaluator"
USER = "user.cli"
ENCRYPTION_KEYS = "keys"
"""Folder in the cluster's home with what `fedbus keys generate` has made; it may be missing."""
NOISE_KEY = "noise.key"
"""File of the collectors' noise key in the cluster's home."""
UP_USER = "user.up"
"""Account of `fedbus up`, which clears the retained node states of a killed cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPlan:
    """The user's choices for a local cluster."""

    home: Path
    agents: int | None = None
    """Number of agents; None: one for each partition in `data`, or 8 without `data`."""
    framework: str = "tflite"
    data: Path | None = None
    split: str | None = None
    """Sampler that partitions the digits, without `data`: `label-quantity:2`."""
    port: int | None = None
    open: bool = False
    http: bool = False
    http_tokens: Path | None = None
    """Tokens file of the members' HTTP APIs, with `http` alone; without it the APIs are off."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings of every member, `{"heartbeat_seconds": "1"}`."""
    faults: Mapping[str, str] = field(default_factory=dict)
    """FEDBUS_FAULT_AT of some nodes, at their first start only: for tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A node of the cluster: the Python module of its service, and its settings."""

    node: str
    module: str
    settings: Mapping[str, str]
    first_start: Mapping[str, str] = field(default_factory=dict)
    """Additional environment of the first start: faults of tests."""

    def environment(self, caller: Mapping[str, str], broker: str, *, first: bool) -> dict[str, str]:
        """Return the environment of the process; `caller` is the starting process's own.

        Settings of the plan and of this member replace those that are inherited.
        """
        kept = inherited(caller)
        # All members share this machine: more threads would slow each other down.
        kept.setdefault("OMP_NUM_THREADS", "1")
        own = {f"FEDBUS_{name.upper()}": value for name, value in self.settings.items()}
        return {**kept, **own, "FEDBUS_BROKER": broker, **(self.first_start if first else {})}

    def with_http(self, address: str, tokens: Path | None) -> "Member":
        """Return this member with HTTP at `address`, and with its API if there is a tokens file."""
        api = {} if tokens is None else {"http_tokens_file": str(tokens)}
        return replace(self, settings={**self.settings, "http": address, **api})


def members(plan: ClusterPlan, names: Iterable[str], data: Path) -> list[Member]:
    """List the four services, an agent for each partition's name, and the evaluator.

    If the home has keys for homomorphic encryption, agents get the secret one, and the services
    that need one the public one.
    """
    secret, public = (_encryption_key(plan, name) for name in (SECRET_NAME, PUBLIC_NAME))
    trainer = {
        "trainer": plan.framework,
        "home": str(plan.home / "agents"),
        "threads": "1",
        **secret,
    }
    agents = {name: {"data": str(data / f"agent.{name}.npz"), **trainer} for name in names}
    held_out = {"data": str(data / "held_out.npz"), "roles": "evaluate", **trainer}
    return [
        _member(plan, "repository.1", {"data": str(plan.home / "repository"), **public}),
        _member(plan, "controller.1", public),
        _member(plan, "collector.1", {"noise_key": str(plan.home / NOISE_KEY), **public}),
        _member(plan, "inference.1", {"home": str(plan.home / "inference")}),
        *(_member(plan, f"agent.{name}", settings) for name, settings in agents.items()),
        _member(plan, f"agent.{EVALUATOR}", held_out),
    ]


def _encryption_key(plan: ClusterPlan, name: str) -> dict[str, str]:
    path = plan.home / ENCRYPTION_KEYS / name
    return {"encryption_key": str(path)} if path.exists() else {}


def accounts(
    plan: ClusterPlan, nodes: Iterable[str], saved: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """Return a password for each node and the user, a saved one if there is; none if open."""
    names = () if plan.open else (*nodes, USER, UP_USER)
    return {name: saved.get(name) or new_password() for name in names}


def rules(user: str) -> Iterator[tuple[Access, str]]:
    """Yield what an account may write and read."""
    yield from access_rules(user)
    if user == UP_USER:
        yield "write", wildcard(ROOT, NODE_STATE)


def broker_of(member: Member, passwords: Mapping[str, str], where: BrokerAddress) -> str:
    """Return the broker's URL with the login of a member."""
    if not passwords:
        return where.url
    login = BrokerAddress(where.host, where.port, member.node, passwords[member.node])
    return login.url


def _member(plan: ClusterPlan, node: str, settings: Mapping[str, str]) -> Member:
    role, _, name = node.partition(".")
    module = "fedbus_edge_agent" if role == "agent" else f"fedbus_{role}"
    opened = {"open": "true"} if plan.open else {}
    own = {"name": name, **settings, **opened, **plan.settings}
    fault = {"FEDBUS_FAULT_AT": plan.faults[node]} if node in plan.faults else {}
    return Member(node=node, module=module, settings=own, first_start=fault)
