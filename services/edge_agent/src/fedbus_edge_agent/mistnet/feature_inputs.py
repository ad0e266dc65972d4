"""Features that a training task needs, while they are fetched from their agents. Pure.

It asks the disk which features are there, in the event loop: one short call for each blob.
"""

from dataclasses import dataclass, field

from fedbus.blobs.spool import Spool
from fedbus.wire.blobs import BlobLocation, BlobRef
from fedbus.wire.messages import TrainTask
from fedbus_edge_agent.mistnet.received_features import ReceivedFeatureFiles


@dataclass(slots=True)
class FeatureInputs:
    """The features that have arrived and are not on the disk yet, by digest."""

    files: ReceivedFeatureFiles
    _arrived: dict[str, Spool] = field(default_factory=dict)

    def missing(self, task: TrainTask) -> list[BlobRef]:
        """Return the blobs that are neither here nor on the disk."""
        return [
            each.features
            for each in task.features
            if each.features.digest not in self._arrived
            and not self.files.has(task.job, each.features)
        ]

    def location(self, task: TrainTask, blob_ref: BlobRef) -> BlobLocation | None:
        """Return which agent serves a blob; None if it is none of the task's features."""
        found = (each.location for each in task.features if each.features == blob_ref)
        return next(found, None)

    def add(self, blob_ref: BlobRef, spool: Spool) -> None:
        """Add a blob that has arrived; the training thread checks its digest."""
        self._arrived[blob_ref.digest] = spool

    def spools(self, task: TrainTask) -> list[Spool | None]:
        """Return the blobs that have arrived, in the task's order; None for those on the disk."""
        return [self._arrived.get(each.features.digest) for each in task.features]

    def drop(self, task: TrainTask) -> None:
        """Drop what has arrived for a task that has ended: it is on the disk, or damaged."""
        for each in task.features:
            if spool := self._arrived.pop(each.features.digest, None):
                spool.close()

    def stop(self, job: str) -> None:
        """Remove the features of an ended job."""
        self.files.remove(job)
