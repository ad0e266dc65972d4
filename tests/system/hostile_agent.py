"""Process of an agent that sends wrong updates; see `WRONG` for the kinds.

    FEDBUS_NAME=h0 FEDBUS_HOME=DIR FEDBUS_WRONG=nan python -m tests.system.hostile_agent

These are updates that an agent with an account at the broker can send. `test_hostile_agents.py`
also sends what the access rules deny.
"""

from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from fedbus.digest import digest_of
from fedbus.model.blob import blank, flat
from fedbus.model.blob_header import Blob
from fedbus.model.layout import Layout, Tensor
from fedbus.runtime import service
from fedbus.runtime.identity import Identity
from fedbus.wire.blobs import BlobRef
from fedbus.wire.messages import Offer, TrainTask
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.outbox import Outbox, StoredOffer
from fedbus_edge_agent.training.task_runner import (
    NO_STRATEGY_BLOBS,
    EvaluationResult,
    Model,
    StrategyBlobs,
    TrainingResult,
)
from tests.system.light_agent import LightSettings, build_with, record_update

Wrong = Literal[
    "shape",  # with one more tensor
    "layout",  # of the right size, with the tensors in another order
    "plain",  # encoded as weights instead of a difference
    "nan",
    "infinity",
    "digest",  # other bytes than those of the offered digest
    "short",  # fewer bytes than offered
    "base",  # trained from a version that is not the round's
    "round",  # for a round that is not the task's
    "foreign",  # for a job that the agent has no task of
    "replay",  # for its first task in every round
    "future",  # for a task that is not planned yet
]
WRONG: tuple[str, ...] = get_args(Wrong)


class HostileSettings(LightSettings):
    """Settings of a hostile agent."""

    wrong: Wrong


class HostileTrainer:
    """A trainer whose updates must be refused."""

    def __init__(self, settings: HostileSettings, agent: str, outbox: Outbox) -> None:
        self._wrong = settings.wrong
        self._home = settings.home
        self._examples = settings.examples
        self._agent = agent
        self._outbox = outbox

    def train(
        self,
        task: TrainTask,
        model: Model,
        _base: Blob,
        _control: TaskControl,
        strategy: StrategyBlobs = NO_STRATEGY_BLOBS,  # noqa: ARG002 - it does not train
    ) -> TrainingResult:
        """Make a wrong update."""
        blob = self._blob(model.layout)
        digest, size = digest_of(blob), len(blob)
        if self._wrong == "short":
            blob = blob[: size // 2]
        if self._wrong == "digest":
            blob = blob[:-1] + b"\x01"
        offer = Offer(
            job=task.job,
            round=task.round,
            task=task.task,
            base=task.base.version,
            update=BlobRef(digest=digest, size=size),
            examples=self._examples,
            metrics={"loss": 0.0},
        )
        if self._wrong == "replay":
            record_update(self._home, self._agent, task, blob)  # the first one is correct
        kept = StoredOffer(collector=task.collector, offer=self._lie(offer))
        return TrainingResult(kept, self._outbox.save(kept, blob), None)

    def evaluate(
        self, _task: object, _model: Model, _weights: Blob, _control: TaskControl
    ) -> EvaluationResult:
        """Raise: this agent announces the role `train` only."""
        raise NotImplementedError

    def _blob(self, layout: Layout) -> bytes:
        match self._wrong:
            case "shape":
                layout = Layout((*layout.tensors, Tensor("more", (7,), "float32")))
            case "layout":
                layout = Layout(tuple(reversed(layout.tensors)))
        blob = blank(layout, "plain" if self._wrong == "plain" else "delta")
        numbers = flat(blob, layout)
        numbers[:] = 1e6  # large enough to change the aggregate visibly
        if self._wrong == "nan":
            numbers[-1] = np.nan
        if self._wrong == "infinity":
            numbers[numbers.size // 2] = np.inf
        return bytes(blob)

    def _lie(self, offer: Offer) -> Offer:
        match self._wrong:
            case "base":
                return replace(offer, base=offer.base + 1)
            case "round":
                return replace(offer, round=offer.round + 1)
            case "foreign":
                return replace(offer, job="job-of-others")
            case "replay":
                return replace(offer, task=1, round=1)
            case "future":
                return replace(offer, task=offer.task + 1, round=offer.round + 1)
        return offer


def build(settings: HostileSettings, identity: Identity) -> service.Built:
    """Build a hostile agent."""
    outbox = Outbox(settings.home / identity.name)
    return build_with(HostileTrainer(settings, identity.name, outbox), outbox, settings)


if __name__ == "__main__":
    service.main("agent", HostileSettings, build)
