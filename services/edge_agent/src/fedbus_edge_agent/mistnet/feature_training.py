"""Both halves of MistNet in the training thread: making features, and training on others'."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fedbus.blobs.spool import Spool
from fedbus.data import Dataset
from fedbus.errors import PluginError, PrivacyError
from fedbus.model.blob import decode
from fedbus.model.blob_header import Blob
from fedbus.plugins import CutsModel
from fedbus.privacy.feature_blob import FeatureEncoder
from fedbus.privacy.unary_randomized_response import RandomBytes
from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.features import FeatureTerms
from fedbus.wire.messages import FeatureTask, TrainTask
from fedbus_edge_agent.mistnet.feature_answers import NewFeatures
from fedbus_edge_agent.mistnet.feature_data import feature_data
from fedbus_edge_agent.mistnet.received_features import ReceivedFeatureFiles
from fedbus_edge_agent.mistnet.sent_features import SentFeatureFiles, StoredFeatures
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.checks import check_digest
from fedbus_edge_agent.training.errors import contain_exits
from fedbus_edge_agent.training.private_offer import undisclosed
from fedbus_edge_agent.training.task_runner import Model
from fedbus_edge_agent.training.trainer_cache import CachedTrainer
from fedbus_edge_agent.training.weights_trainer import WeightsTrainer


class FeatureTraining:
    """Makes features of this agent's examples, and reads those of other agents.

    `home` is the folder of the agent's outbox; `random_bytes` is the source of randomized response,
    cryptographic but in tests.
    """

    def __init__(
        self, trainer: WeightsTrainer, home: Path, random_bytes: RandomBytes = os.urandom
    ) -> None:
        self._trainer = trainer
        self._sent, self._received = SentFeatureFiles.of(home), ReceivedFeatureFiles.of(home)
        self.random_bytes = random_bytes

    def make(
        self, task: FeatureTask, model: Model, base: Blob, control: TaskControl
    ) -> NewFeatures:
        """Compute and randomize the features of all training examples, and store them.

        Raises:
            FedbusError: The base is damaged, no trainer can cut the model, or its features are not
                as many as the job states. What may quote the data is only in this agent's log.
            Stopped: The task was cancelled.
        """
        control.begin()
        check_digest(base, task.base.weights)
        weights = decode(base, model.layout, "plain")
        with undisclosed(task, control), contain_exits():
            data = control.watch(self._trainer.load_data(model, task.params).train)
        terms = task.terms
        with contain_exits(), self._trainer.loaded.use(model, task.trainer) as loaded:
            found = _cutting(loaded).features(weights, data, terms.cut_layer)
            encoder = FeatureEncoder(terms.cut_layer, terms.epsilon, self.random_bytes)
            with undisclosed(task, control):
                for x, y in found:
                    _check_width(int(np.prod(x.shape[1:])), terms)
                    encoder.add(x, y)
        control.check()
        blob = encoder.blob()
        stored = StoredFeatures(
            job=task.job,
            base=task.base.weights.digest,
            terms=terms,
            features=blob_ref_of(blob),
            examples=encoder.examples,
        )
        return stored, self._sent.save(stored, blob)

    def data(
        self,
        task: TrainTask,
        terms: FeatureTerms,
        spools: Sequence[Spool | None],
        control: TaskControl,
    ) -> Dataset:
        """Store what has arrived, and return the examples of all agents.

        Args:
            task: The task, with the features of each agent.
            terms: The task's.
            spools: The features that have arrived, in the order of the task's; None: on the disk.
            control: Gets a note about each agent whose features are left out.

        Raises:
            FedbusError: No agent's features can be used, or the disk is full.
            Stopped: The task was cancelled.
        """
        control.begin()
        blobs = {}
        for each, spool in zip(task.features, spools, strict=True):
            if spool is not None:
                self._received.save(task.job, each.features, spool)
            blobs[each.agent] = memoryview(self._received.read(task.job, each.features))
            control.check()
        data, left_out = feature_data(blobs, terms)
        control.notes += [("features_left_out", reason) for reason in left_out]
        return control.watch(data)


def prepare_cut(loaded: CachedTrainer, terms: FeatureTerms) -> None:
    """Make the trainer's next training one of the layers after the cut.

    Raises:
        FedbusError: The trainer cannot cut this model.
    """
    _cutting(loaded).train_after(terms.cut_layer)


def _check_width(found: int, terms: FeatureTerms) -> None:
    if found != terms.features:
        raise PrivacyError(
            f"an example has {found} features after layer {terms.cut_layer}, and the job computes "
            f"its ε for {terms.features}: set privacy-mechanisms.mistnet.features to {found}"
        )


def _cutting(loaded: CachedTrainer) -> CutsModel:
    if not isinstance(loaded.trainer, CutsModel):
        raise PluginError(
            f"trainer {loaded.name} cannot cut a model, which MistNet needs: it has no methods "
            "features and train_after; use a model for torch"
        )
    return loaded.trainer
