"""Table of all topics: which message, who writes it, who reads it.

The broker's access rules (`access_rules.py`) and `docs/wire.md` are generated from this table. One
rule holds for all nodes: X writes `link/X/#`, `nodes/X/#`, `blobs/X/#` and reads `link/+/X/#`; each
role has a few more.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

from fedbus.wire import messages
from fedbus.wire.documents import (
    Heartbeat,
    JobState,
    ModelAliases,
    ModelLatest,
    NodeIdentity,
    NodeState,
    RefusedRequest,
    RoundState,
)
from fedbus.wire.identifiers import ROLES

ROOT = "fedbus/v1"


@dataclass(frozen=True, slots=True)
class Link:
    """A message that nodes of the roles `senders` may send to those of the roles `receivers`.

    `kind` is the name of the message's class, which is imported once it is needed.
    """

    kind: str
    senders: tuple[str, ...]
    receivers: tuple[str, ...]

    @property
    def message(self) -> type[Any]:
        """The message's class."""
        found: type[Any] = getattr(messages, self.kind)
        return found

    @property
    def name(self) -> str:
        """Last level of the message's topic."""
        return snake(self.kind)


@dataclass(frozen=True, slots=True)
class Topic:
    """A public topic; each `{level}` of its pattern is a field of the message, if it has one.

    The broker keeps messages with QoS 1 of a `kept` topic until a reader acknowledges them.
    `expiry` is in seconds.
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
        """Names of the variable levels."""
        return [level[1:-1] for level in self.pattern.split("/") if level.startswith("{")]


def snake(name: str) -> str:
    """Convert a class's name to a topic level: `TrainTask` to `train_task`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


_ANY = ROLES
_SOURCES = ("repository", "agent", "collector", "user")
_FETCHERS = ("repository", "agent", "collector", "inference", "user")

LINKS: tuple[Link, ...] = (
    Link("Join", _FETCHERS, _SOURCES),
    Link("Confirm", _FETCHERS, _SOURCES),
    Link("Leave", _FETCHERS, _SOURCES),
    Link("ChunkRequest", _FETCHERS, _SOURCES),
    Link("UseUnicast", _SOURCES, _FETCHERS),
    Link("BlobNotFound", _SOURCES, _FETCHERS),
    Link("TrainTask", ("controller",), ("agent",)),
    Link("TaskTaken", ("agent",), ("controller",)),
    Link("FeatureTask", ("controller",), ("agent",)),
    Link("FeaturesReady", ("agent",), ("controller",)),
    Link("EvaluateTask", ("controller",), ("agent",)),
    Link("Evaluated", ("agent",), ("controller",)),
    Link("OpenRound", ("controller",), ("collector",)),
    Link("RoundOpened", ("collector",), ("controller",)),
    Link("Dismiss", ("controller",), ("collector",)),
    Link("Dismissed", ("collector",), ("controller",)),
    Link("Offer", ("agent",), ("collector",)),
    Link("Decline", ("agent",), ("collector",)),
    Link("Step", ("collector",), ("agent",)),
    Link("StepReply", ("agent",), ("collector",)),
    Link("Receipt", ("collector",), ("agent",)),
    Link("RoundEnded", ("collector",), ("controller",)),
    Link("RoundEndNoted", ("controller",), ("collector",)),
    Link("StopJob", ("controller",), ("agent", "collector")),
    Link("JobStopped", ("agent", "collector"), ("controller",)),
    Link("TakeLease", ("controller",), ("repository",)),
    Link("LeaseGranted", ("repository",), ("controller",)),
    Link("LeaseHeld", ("repository",), ("controller",)),
    Link("StoreJob", ("controller",), ("repository",)),
    Link("JobFileRefused", ("repository",), ("controller",)),
    Link("StorePlan", ("controller",), ("repository",)),
    Link("PlanRefused", ("repository",), ("controller",)),
    Link("PlanStored", ("repository",), ("controller",)),
    Link("ListJobs", ("controller",), ("repository",)),
    Link("JobsListed", ("repository",), ("controller",)),
    Link("LoadJob", ("controller",), ("repository",)),
    Link("JobLoaded", ("repository",), ("controller",)),
    Link("StoreEvaluation", ("controller",), ("repository",)),
    Link("EvaluationStored", ("repository",), ("controller",)),
    Link("EndJob", ("controller",), ("repository",)),
    Link("JobEnded", ("repository",), ("controller",)),
    Link("ForgetJob", ("controller",), ("repository",)),
    Link("JobForgotten", ("repository",), ("controller",)),
    Link("StaleEpoch", ("repository", "collector", "agent"), ("controller",)),
    Link("Commit", ("collector",), ("repository",)),
    Link("Committed", ("repository",), ("collector",)),
    Link("CommitRefused", ("repository",), ("collector",)),
    Link("RecordNoise", ("collector",), ("repository",)),
    Link("NoiseRecorded", ("repository",), ("collector",)),
    Link("NoiseRefused", ("repository",), ("collector",)),
    Link("LookUp", ("collector",), ("repository",)),
    Link("LookedUp", ("repository",), ("collector",)),
    Link("PushModel", ("user",), ("repository",)),
    Link("ModelPushed", ("repository",), ("user",)),
    Link("ListModels", ("user",), ("repository",)),
    Link("ModelsListed", ("repository",), ("user",)),
    Link("ShowModel", ("user", "inference"), ("repository",)),
    Link("ModelShown", ("repository",), ("user", "inference")),
    Link("TagVersion", ("user",), ("repository",)),
    Link("VersionTagged", ("repository",), ("user",)),
    Link("PromoteVersion", ("user",), ("repository",)),
    Link("RollBackAlias", ("user", "inference"), ("repository",)),
    Link("AliasMoved", ("repository",), ("user", "inference")),
    Link("ListNameChanges", ("user",), ("repository",)),
    Link("NameChangesListed", ("repository",), ("user",)),
    Link("ListRelatives", ("user",), ("repository",)),
    Link("RelativesListed", ("repository",), ("user",)),
    Link("ShowJobFile", ("user", "controller"), ("repository",)),
    Link("JobFileShown", ("repository",), ("user", "controller")),
    Link("ShowJobResult", ("user", "controller"), ("repository",)),
    Link("JobResultShown", ("repository",), ("user", "controller")),
    Link("ListJobResults", ("user", "controller"), ("repository",)),
    Link("JobResultsListed", ("repository",), ("user", "controller")),
    Link("StoreConfiguration", ("user", "controller"), ("repository",)),
    Link("ConfigurationStored", ("repository",), ("user", "controller")),
    Link("ShowConfiguration", ("user", "controller"), ("repository",)),
    Link("ConfigurationShown", ("repository",), ("user", "controller")),
    Link("ListConfigurations", ("user", "controller"), ("repository",)),
    Link("ConfigurationsListed", ("repository",), ("user", "controller")),
    Link("ShowPrivacy", ("user",), ("repository",)),
    Link("PrivacyShown", ("repository",), ("user",)),
    Link("RequestRefused", ("repository",), ("user", "inference", "controller")),
)

HOUR_SECONDS = 3600
DAY_SECONDS = 24 * HOUR_SECONDS
YEAR_SECONDS = 365 * DAY_SECONDS

# fmt: off
NODE_STATE = Topic(
    "nodes/{node}/state", NodeState, _ANY, ("controller", "user"), "json", retain=True,
    purpose="whether a node is online, and what an agent can do; also each node's last will",
    expiry=YEAR_SECONDS,
)
NODE_IDENTITY = Topic(
    "nodes/{node}/identity", NodeIdentity, _ANY, ("agent", "collector", "user"), "json",
    retain=True,
    purpose="the key with which an agent signs in masked rounds; only the agent may write it, so "
    "the operator of the broker can replace it for agents that have not pinned it",
    expiry=YEAR_SECONDS,
)
HEARTBEAT = Topic(
    "nodes/{node}/heartbeat", Heartbeat, _ANY, ("controller",), "msgpack", retain=False,
    purpose="load, memory, progress of the running task. Not for users: load and memory tell who "
    "trains, also for a job that draws its agents in secret",
)
SUBMIT = Topic(
    "submit", None, ("user",), ("controller",), "json", retain=False,
    purpose="a job file; the reply goes to the response topic. Kept, with QoS 1, until decided",
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
    retain=True, purpose="the faults for which a job file, or a cancellation, was refused",
    expiry=HOUR_SECONDS,
)
FORGET = Topic(
    "forget", None, ("user",), ("controller",), "any", retain=False,
    purpose="the id of an ended job to unlist, bare or as a JSON string",
)
JOB_STATE = Topic(
    "jobs/{job}/state", JobState, ("controller",), ("user", "controller"), "json", retain=True,
    purpose="phase, round and metrics of a job", expiry=30 * DAY_SECONDS,
)
ROUND_STATE = Topic(
    "jobs/{job}/rounds/{round}", RoundState, ("controller",), ("user",), "json", retain=True,
    purpose="a finished round; the last 1000 of each job", expiry=7 * DAY_SECONDS,
)
MODEL_LATEST = Topic(
    "models/{model}/latest", ModelLatest, ("repository",), ("inference", "controller", "user"),
    "json", retain=True, purpose="the newest committed version of a model",
)
MODEL_ALIASES = Topic(
    "models/{model}/aliases", ModelAliases, ("repository",), ("inference", "controller", "user"),
    "json", retain=True,
    purpose="the version that each alias of a model names, such as production, and each tag",
)
INFERENCE = Topic(
    "inference/{model}/request", None, ("user",), ("inference",), "any", retain=False,
    purpose='an array (`{"inputs": …}`), JSON or msgpack, to a model or to one of its versions '
    "(`MODEL@3`, `MODEL@production`, `MODEL@TAG`); the reply in the same encoding: "
    "`outputs` as the model's framework gives them, and by the spec's `answers` the "
    "`probabilities` of scores and the `classes` or `labels` that they name",
)
REPLIES = Topic(
    "replies/{name}", None, ("controller", "inference"), ("user",), "any", retain=False,
    purpose="replies to foreign clients, which name this topic as their response topic",
)
BLOBS = Topic(
    "blobs/{source}/{digest}", None, _SOURCES, ("agent", "collector"), "any", retain=False,
    purpose="chunks of a blob, for the nodes that follow its multicast",
)
PUBLIC = (
    NODE_STATE, NODE_IDENTITY, HEARTBEAT, SUBMIT, CANCEL, FORGET, JOB_REQUEST, JOB_REFUSED,
    JOB_STATE, ROUND_STATE, MODEL_LATEST, MODEL_ALIASES, INFERENCE, REPLIES, BLOBS,
)
# fmt: on
