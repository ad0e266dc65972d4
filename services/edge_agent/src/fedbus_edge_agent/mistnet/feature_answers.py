"""Answers to requests for features: the same bytes for each request of a job. Pure.

The constructor reads the folder of sent features in the event loop, before the first event.
"""

from collections.abc import Iterator
from functools import partial

from fedbus.blobs.files import FileBlob
from fedbus.core.actions import Action, Note, Run, Send, Serve, Unserve
from fedbus.limits import MAX_TEXT_CHARACTERS
from fedbus.wire.messages import FeaturesReady, FeatureTask
from fedbus_edge_agent.keys import FeatureRemoval
from fedbus_edge_agent.mistnet.sent_features import SentFeatureFiles, StoredFeatures

NewFeatures = tuple[StoredFeatures, FileBlob]
"""Features that were just stored, and the blob to serve."""


class FeatureAnswers:
    """The features that this agent serves, by job."""

    def __init__(self, files: SentFeatureFiles) -> None:
        self._files = files
        self._sent = {stored.job: (stored, source) for stored, source in files.load()}
        self._unserved = [*self._sent]

    def begin(self) -> Iterator[Action]:
        """Serve the features that an earlier process left; later calls do nothing."""
        unserved, self._unserved = self._unserved, []
        for job in unserved:
            if job in self._sent:
                stored, source = self._sent[job]
                yield Serve(stored.features.digest, source)

    def has(self, job: str) -> bool:
        """Return whether this agent has sent, or may send, features of a job."""
        return job in self._sent

    def repeat(self, controller: str, task: FeatureTask) -> Iterator[Action]:
        """Answer with the features of an earlier request; refuse if it was another promise."""
        stored = self._sent[task.job][0]
        if (stored.terms, stored.base) != (task.terms, task.base.weights.digest):
            reason = (
                "this agent has sent features of the job with other terms or another base; they "
                "are not made again"
            )
            yield Send(controller, refusal_of(task, reason))
        else:
            yield Send(controller, _ready(task, stored))

    def report(
        self, controller: str, task: FeatureTask, result: object, reason: str
    ) -> Iterator[Action]:
        """Answer with what a task made, or with a reason that it made none."""
        if isinstance(result, tuple) and not reason:
            yield from self._add(controller, task, result)
        else:
            yield Note("task_failed", {"job": task.job, "task": task.task, "reason": reason})
            yield Send(controller, refusal_of(task, reason))

    def _add(self, controller: str, task: FeatureTask, made: NewFeatures) -> Iterator[Action]:
        """Serve new features, and answer with them."""
        stored, source = self._sent[task.job] = made
        yield Note("features_made", {"job": task.job, "examples": stored.examples})
        yield Serve(stored.features.digest, source)
        yield Send(controller, _ready(task, stored))

    def drop(self, job: str, result: object) -> Iterator[Action]:
        """Remove features that were made for a job which has ended: they were never served."""
        if not isinstance(result, Exception) and job not in self._sent:
            yield self._removal(job)

    def stop(self, job: str) -> Iterator[Action]:
        """Stop serving an ended job's features, and remove them."""
        sent = self._sent.pop(job, None)
        if sent is not None:
            yield Unserve(sent[0].features.digest)
            yield self._removal(job)

    def _removal(self, job: str) -> Run:
        return Run(FeatureRemoval(job), partial(self._files.remove, job), brief=True)


def refusal_of(task: FeatureTask, reason: str) -> FeaturesReady:
    """Return the answer that there are no features, its reason cut to what a message holds."""
    return FeaturesReady(
        job=task.job, task=task.task, features=None, reason=reason[:MAX_TEXT_CHARACTERS]
    )


def _ready(task: FeatureTask, stored: StoredFeatures) -> FeaturesReady:
    return FeaturesReady(
        job=task.job, task=task.task, features=stored.features, examples=stored.examples
    )
