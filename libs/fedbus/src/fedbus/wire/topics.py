"""Table of all topics: which message, who writes it, who reads it.

The broker's access rules (`access_rules.py`) and `docs/wire.md` are generated from this table. One
rule holds for all nodes: X writes `link/X/#`, `nodes/X/#`, `blobs/X/#` and reads `link/+/X/#`; each
role has a few more.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

from fedbus.wire import messages as m
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
    """A message that nodes of the roles `senders` may send to those of the roles `receivers`."""

    message: type[Any]
    senders: tuple[str, ...]
    receivers: tuple[str, ...]

    @property
    def name(self) -> str:
        """Last level of the message's topic."""
        return snake(self.message.__name__)


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
    Link(m.Join, _FETCHERS, _SOURCES),
    Link(m.Confirm, _FETCHERS, _SOURCES),
    Link(m.Leave, _FETCHERS, _SOURCES),
    Link(m.ChunkRequest, _FETCHERS, _SOURCES),
    Link(m.UseUnicast, _SOURCES, _FETCHERS),
    Link(m.BlobNotFound, _SOURCES, _FETCHERS),
    Link(m.TrainTask, ("controller",), ("agent",)),
    Link(m.TaskTaken, ("agent",), ("controller",)),
    Link(m.FeatureTask, ("controller",), ("agent",)),
    Link(m.FeaturesReady, ("agent",), ("controller",)),
    Link(m.EvaluateTask, ("controller",), ("agent",)),
    Link(m.Evaluated, ("agent",), ("controller",)),
    Link(m.OpenRound, ("controller",), ("collector",)),
    Link(m.RoundOpened, ("collector",), ("controller",)),
    Link(m.Dismiss, ("controller",), ("collector",)),
    Link(m.Dismissed, ("collector",), ("controller",)),
    Link(m.Offer, ("agent",), ("collector",)),
    Link(m.Decline, ("agent",), ("collector",)),
    Link(m.Step, ("collector",), ("agent",)),
    Link(m.StepReply, ("agent",), ("collector",)),
    Link(m.Receipt, ("collector",), ("agent",)),
    Link(m.RoundEnded, ("collector",), ("controller",)),
    Link(m.RoundEndNoted, ("controller",), ("collector",)),
    Link(m.StopJob, ("controller",), ("agent", "collector")),
    Link(m.JobStopped, ("agent", "collector"), ("controller",)),
    Link(m.TakeLease, ("controller",), ("repository",)),
    Link(m.LeaseGranted, ("repository",), ("controller",)),
    Link(m.LeaseHeld, ("repository",), ("controller",)),
    Link(m.StoreJob, ("controller",), ("repository",)),
    Link(m.JobFileRefused, ("repository",), ("controller",)),
    Link(m.StorePlan, ("controller",), ("repository",)),
    Link(m.PlanRefused, ("repository",), ("controller",)),
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
    Link(m.RecordNoise, ("collector",), ("repository",)),
    Link(m.NoiseRecorded, ("repository",), ("collector",)),
    Link(m.NoiseRefused, ("repository",), ("collector",)),
    Link(m.LookUp, ("collector",), ("repository",)),
    Link(m.LookedUp, ("repository",), ("collector",)),
    Link(m.PushModel, ("user",), ("repository",)),
    Link(m.ModelPushed, ("repository",), ("user",)),
    Link(m.ListModels, ("user",), ("repository",)),
    Link(m.ModelsListed, ("repository",), ("user",)),
    Link(m.ShowModel, ("user", "inference"), ("repository",)),
    Link(m.ModelShown, ("repository",), ("user", "inference")),
    Link(m.TagVersion, ("user",), ("repository",)),
    Link(m.VersionTagged, ("repository",), ("user",)),
    Link(m.PromoteVersion, ("user",), ("repository",)),
    Link(m.RollBackAlias, ("user", "inference"), ("repository",)),
    Link(m.AliasMoved, ("repository",), ("user", "inference")),
    Link(m.ListNameChanges, ("user",), ("repository",)),
    Link(m.NameChangesListed, ("repository",), ("user",)),
    Link(m.ListRelatives, ("user",), ("repository",)),
    Link(m.RelativesListed, ("repository",), ("user",)),
    Link(m.ShowJobFile, ("user", "controller"), ("repository",)),
    Link(m.JobFileShown, ("repository",), ("user", "controller")),
    Link(m.ShowJobResult, ("user", "controller"), ("repository",)),
    Link(m.JobResultShown, ("repository",), ("user", "controller")),
    Link(m.ListJobResults, ("user", "controller"), ("repository",)),
    Link(m.JobResultsListed, ("repository",), ("user", "controller")),
    Link(m.StoreConfiguration, ("user", "controller"), ("repository",)),
    Link(m.ConfigurationStored, ("repository",), ("user", "controller")),
    Link(m.ShowConfiguration, ("user", "controller"), ("repository",)),
    Link(m.ConfigurationShown, ("repository",), ("user", "controller")),
    Link(m.ListConfigurations, ("user", "controller"), ("repository",)),
    Link(m.ConfigurationsListed, ("repository",), ("user", "controller")),
    Link(m.ShowPrivacy, ("user",), ("repository",)),
    Link(m.PrivacyShown, ("repository",), ("user",)),
    Link(m.RequestRefused, ("repository",), ("user", "inference", "controller")),
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
