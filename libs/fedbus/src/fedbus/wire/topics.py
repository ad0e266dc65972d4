"""One table of addresses: which message, who writes it, who reads it.

The broker's access rules and `docs/wire.md` are generated from here. The rule is one for all nodes:
X writes `link/X/#`, `nodes/X/#`, `blobs/X/#` and reads `link/+/X/#`; a few lines more per role.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from fedbus.errors import WireError
from fedbus.wire import messages as m
from fedbus.wire.documents import (
    Heartbeat,
    JobState,
    ModelLatest,
    NodeState,
    RefusedRequest,
    RoundState,
)
from fedbus.wire.identifiers import ROLES, is_node, role_of

ROOT = "fedbus/v1"

LONGEST_REPLY_TOPIC = 512
LONGEST_ROOT = 200

Access = Literal["read", "write"]


@dataclass(frozen=True, slots=True)
class Link:
    """A message that `senders` may send to `receivers` (roles)."""

    message: type[Any]
    senders: tuple[str, ...]
    receivers: tuple[str, ...]

    @property
    def name(self) -> str:
        """The last level of its topic."""
        return snake(self.message.__name__)


@dataclass(frozen=True, slots=True)
class Topic:
    """A public topic; `{…}` are levels, and fields of the message where it has such fields.

    Of a `kept` topic the broker holds what is published with QoS 1 until a reader acknowledges it.
    """

    pattern: str
    message: type[Any] | None
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    encoding: Literal["json", "msgpack", "any"]
    retain: bool
    purpose: str
    expiry: int | None = None
    kept: bool = False

    @property
    def levels(self) -> list[str]:
        """The names of its variable levels."""
        return [level[1:-1] for level in self.pattern.split("/") if level.startswith("{")]


def snake(name: str) -> str:
    """Spell a class's name as a topic level: `TrainTask` is `train_task`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


_ANY = ROLES
_SOURCES = ("repository", "agent", "collector", "user")
_FETCHERS = ("repository", "agent", "collector", "inference", "user")

LINKS: tuple[Link, ...] = (
    Link(m.Join, _FETCHERS, _SOURCES),
    Link(m.Confirm, _FETCHERS, _SOURCES),
    Link(m.Leave, _FETCHERS, _SOURCES),
    Link(m.ChunkRequest, _FETCHERS, _SOURCES),
    Link(m.UseUnicast, _SOURCES, _FETCHERS),
    Link(m.BlobNotFound, _SOURCES, _FETCHERS),
    Link(m.TrainTask, ("controller",), ("agent",)),
    Link(m.TaskTaken, ("agent",), ("controller",)),
    Link(m.EvaluateTask, ("controller",), ("agent",)),
    Link(m.Evaluated, ("agent",), ("controller",)),
    Link(m.OpenRound, ("controller",), ("collector",)),
    Link(m.RoundOpened, ("collector",), ("controller",)),
    Link(m.Dismiss, ("controller",), ("collector",)),
    Link(m.Dismissed, ("collector",), ("controller",)),
    Link(m.Offer, ("agent",), ("collector",)),
    Link(m.Decline, ("agent",), ("collector",)),
    Link(m.Receipt, ("collector",), ("agent",)),
    Link(m.RoundEnded, ("collector",), ("controller",)),
    Link(m.RoundEndNoted, ("controller",), ("collector",)),
    Link(m.StopJob, ("controller",), ("agent", "collector")),
    Link(m.JobStopped, ("agent", "collector"), ("controller",)),
    Link(m.TakeLease, ("controller",), ("repository",)),
    Link(m.LeaseGranted, ("repository",), ("controller",)),
    Link(m.LeaseHeld, ("repository",), ("controller",)),
    Link(m.StoreJob, ("controller",), ("repository",)),
    Link(m.JobRefused, ("repository",), ("controller",)),
    Link(m.StorePlan, ("controller",), ("repository",)),
    Link(m.PlanStored, ("repository",), ("controller",)),
    Link(m.ListJobs, ("controller",), ("repository",)),
    Link(m.JobsListed, ("repository",), ("controller",)),
    Link(m.LoadJob, ("controller",), ("repository",)),
    Link(m.JobLoaded, ("repository",), ("controller",)),
    Link(m.StoreEvaluation, ("controller",), ("repository",)),
    Link(m.EvaluationStored, ("repository",), ("controller",)),
    Link(m.EndJob, ("controller",), ("repository",)),
    Link(m.JobEnded, ("repository",), ("controller",)),
    Link(m.ForgetJob, ("controller",), ("repository",)),
    Link(m.JobForgotten, ("repository",), ("controller",)),
    Link(m.StaleEpoch, ("repository", "collector", "agent"), ("controller",)),
    Link(m.Commit, ("collector",), ("repository",)),
    Link(m.Committed, ("repository",), ("collector",)),
    Link(m.CommitRefused, ("repository",), ("collector",)),
    Link(m.LookUp, ("collector",), ("repository",)),
    Link(m.LookedUp, ("repository",), ("collector",)),
    Link(m.PushModel, ("user",), ("repository",)),
    Link(m.ModelPushed, ("repository",), ("user",)),
    Link(m.ListModels, ("user",), ("repository",)),
    Link(m.ModelsListed, ("repository",), ("user",)),
    Link(m.ShowModel, ("user",), ("repository",)),
    Link(m.ModelShown, ("repository",), ("user",)),
    Link(m.RequestRefused, ("repository",), ("user",)),
)

HOUR = 3600
DAY = 24 * HOUR
YEAR = 365 * DAY

# fmt: off
NODE_STATE = Topic(
    "nodes/{node}/state", NodeState, _ANY, ("controller", "user"), "json", retain=True,
    purpose="who is there, and what an agent can do; also every node's last will", expiry=YEAR,
)
HEARTBEAT = Topic(
    "nodes/{node}/heartbeat", Heartbeat, _ANY, ("controller", "user"), "msgpack", retain=False,
    purpose="load, memory, progress of the running task",
)
SUBMIT = Topic(
    "submit", None, ("user",), ("controller",), "json", retain=False,
    purpose="a job file; the answer goes to the response topic. Kept, with QoS 1, until decided",
    kept=True,
)
CANCEL = Topic(
    "cancel", None, ("user",), ("controller",), "any", retain=False,
    purpose="the id of a job to cancel, bare or as a JSON string. Kept, with QoS 1, until decided",
    kept=True,
)
JOB_REQUEST = Topic(
    "jobs/{job}/request", None, ("user", "controller"), ("controller",), "json", retain=True,
    purpose="a job file that survives the broker's restart; cleared once it is stored or refused",
)
JOB_REFUSED = Topic(
    "jobs/{job}/request/refused", RefusedRequest, ("controller",), ("user", "controller"), "json",
    retain=True, purpose="why a job file, or a cancellation, was refused", expiry=HOUR,
)
FORGET = Topic(
    "forget", None, ("user",), ("controller",), "any", retain=False,
    purpose="the id of an ended job that is to be listed no more, bare or as a JSON string",
)
JOB_STATE = Topic(
    "jobs/{job}/state", JobState, ("controller",), ("user", "controller"), "json", retain=True,
    purpose="where a job stands", expiry=30 * DAY,
)
ROUND_STATE = Topic(
    "jobs/{job}/rounds/{round}", RoundState, ("controller",), ("user",), "json", retain=True,
    purpose="one finished round; of a job the last 1000", expiry=7 * DAY,
)
MODEL_LATEST = Topic(
    "models/{model}/latest", ModelLatest, ("repository",), ("inference", "controller", "user"),
    "json", retain=True, purpose="the newest committed version of a model",
)
INFERENCE = Topic(
    "inference/{model}/request", None, ("user",), ("inference",), "any", retain=False,
    purpose='an array (`{"inputs": …}`), JSON or msgpack; the answer in the same encoding: '
    "`outputs` as the model's framework gives them, and by the spec's `answers` the "
    "`probabilities` of scores and the `classes` or `labels` that they name",
)
REPLIES = Topic(
    "replies/{name}", None, ("controller", "inference"), ("user",), "any", retain=False,
    purpose="answers to foreign clients: name it as your response topic",
)
BLOBS = Topic(
    "blobs/{source}/{digest}", None, _SOURCES, ("agent", "collector"), "any", retain=False,
    purpose="chunks of a blob, to whoever joined its group",
)
PUBLIC = (
    NODE_STATE, HEARTBEAT, SUBMIT, CANCEL, FORGET, JOB_REQUEST, JOB_REFUSED, JOB_STATE,
    ROUND_STATE, MODEL_LATEST, INFERENCE, REPLIES, BLOBS,
)
# fmt: on

CHUNK_LEVEL = "chunk"
_LINK_BY_NAME = {link.name: link for link in LINKS}
_NAME_BY_TYPE = {link.message: link.name for link in LINKS}
_PUBLIC_LEVELS = [(topic, topic.pattern.split("/")) for topic in PUBLIC]


def link_topic(root: str, sender: str, receiver: str, message: type[Any]) -> str:
    """Address a message."""
    return f"{root}/link/{sender}/{receiver}/{_NAME_BY_TYPE[message]}"


def unicast_topic(root: str, source: str, receiver: str) -> str:
    """Where chunks go that one receiver wanted."""
    return f"{root}/link/{source}/{receiver}/{CHUNK_LEVEL}"


def multicast_topic(root: str, source: str, digest: str) -> str:
    """Where chunks go that a group follows."""
    return f"{root}/blobs/{source}/{digest}"


def link_of(sender: str, receiver: str, level: str) -> Link:
    """Find the message a link topic carries.

    Raises:
        WireError: nobody knows it, or these roles may not say it to each other.
    """
    link = _LINK_BY_NAME.get(level)
    if link is None or not is_node(sender):
        raise WireError(f"link/{sender}/{receiver}/{level}: no such message or sender")
    if role_of(sender) not in link.senders or role_of(receiver) not in link.receivers:
        raise WireError(f"{level}: a {role_of(sender)} does not say that to a {role_of(receiver)}")
    return link


def address(root: str, topic: Topic, **levels: object) -> str:
    """Fill in a public topic's levels."""
    return f"{root}/{topic.pattern.format(**levels)}"


def wildcard(root: str, topic: Topic) -> str:
    """The subscription that receives all of a public topic."""
    return f"{root}/{re.sub(r'{[a-z]+}', '+', topic.pattern)}"


def public_topic(root: str, name: str) -> tuple[Topic, dict[str, str]] | None:
    """Recognise a public topic and read its levels; None where it is none of ours."""
    if not name.startswith(root + "/"):
        return None
    levels = name[len(root) + 1 :].split("/")
    for topic, pattern in _PUBLIC_LEVELS:
        # What stands first is never variable, and tells most topics apart.
        if pattern[0] == levels[0] and len(pattern) == len(levels):
            pairs = list(zip(pattern, levels, strict=True))
            if all(p == level or p.startswith("{") for p, level in pairs):
                return topic, {p[1:-1]: level for p, level in pairs if p.startswith("{")}
    return None


def access_rules(node: str, root: str = ROOT) -> Iterator[tuple[Access, str]]:
    """All that a node may write and read: what the broker is told about it."""
    role = role_of(node)
    for tree in ("link", "nodes", "blobs"):
        yield "write", f"{root}/{tree}/{node}/#"
    yield "read", f"{root}/link/+/{node}/#"
    if role not in NODE_STATE.readers:
        # What it says of itself comes back to it: another process of its name would show there.
        yield "read", address(root, NODE_STATE, node=node)
    own = (NODE_STATE, HEARTBEAT, BLOBS)
    for topic in PUBLIC:
        if role in topic.writers and topic not in own:
            yield "write", wildcard(root, topic)
        if role in topic.readers:
            yield "read", wildcard(root, topic)


def may(node: str, access: Access, topic: str, root: str = ROOT) -> bool:
    """Tell whether the access rules let a node publish to, or receive from, a topic."""
    return any(
        rule == access and matches(pattern, topic) for rule, pattern in access_rules(node, root)
    )


def matches(pattern: str, topic: str) -> bool:
    """Match a topic name against a subscription with `+` and `#` (MQTT 5, section 4.7)."""
    if topic.startswith("$") and pattern[0] in "+#":
        return False
    wanted, given = pattern.split("/"), topic.split("/")
    for i, level in enumerate(wanted):
        if level == "#":
            return True
        if i >= len(given) or level not in ("+", given[i]):
            return False
    return len(wanted) == len(given)


def bad_root(root: str) -> str:
    """Say why nothing can live under a root topic; nothing if it can."""
    if root.startswith("$"):
        return "topics that begin with $ belong to the broker"
    if len(root) > LONGEST_ROOT:
        return f"longer than {LONGEST_ROOT} characters"
    if set(root) & set("+#") or any(_unprintable(letter) for letter in root):
        return "a topic without wildcards and control characters, as fedbus/v1"
    if any(not level for level in root.split("/")):
        return "levels with one / between them, as fedbus/v1"
    return ""


def _unprintable(letter: str) -> bool:
    return unicodedata.category(letter) in {"Cc", "Cn", "Cs"}


def unanswerable(response_topic: str | None, root: str, *, open_profile: bool) -> str:
    """Say why no answer may be published there; nothing if it may.

    Otherwise a service, which may write more than its asker, could be made to publish where the
    asker may not, or what its broker throws it out for. `open_profile` also allows topics outside
    our root.
    """
    place = f"name one of the form {wildcard(root, REPLIES)[:-1]}NAME, without a further /"
    if not response_topic:
        return f"no reply topic (MQTT 3.1.1 has none): with MQTT 5, {place}"
    shown = ascii(response_topic[:80])
    if len(response_topic) > LONGEST_REPLY_TOPIC:
        return f"the reply topic {shown} … is longer than {LONGEST_REPLY_TOPIC} characters"
    if set(response_topic) & set("+#") or any(map(_unprintable, response_topic)):
        return f"the reply topic {shown} has a wildcard or a control character; {place}"
    if matches(wildcard(root, REPLIES), response_topic):
        return ""
    ours = response_topic.startswith("$") or (response_topic + "/").startswith(root + "/")
    if open_profile and not ours:
        return ""
    return f"the reply topic {shown} is elsewhere; {place}"
