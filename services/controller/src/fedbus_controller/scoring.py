"""What a committed version is worth on data that nobody trained on. Pure."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from fedbus.actions import Action, Ask, Cancel, Note
from fedbus.catalogue import as_trained, bounded, impossible
from fedbus.wire.limits import MAX_IDENT_CHARACTERS, MAX_METRICS
from fedbus.wire.messages import Evaluated, EvaluateTask
from fedbus.wire.values import ModelRef
from fedbus_controller import keys
from fedbus_controller.brief import Brief


class Scoring:
    """The scores of one version: who was asked, and what they said."""

    def __init__(self, brief: Brief, version: ModelRef, evaluators: Sequence[str]) -> None:
        self.version = version
        self.evaluators = tuple(evaluators)
        self._brief = brief
        self._missing = dict.fromkeys(evaluators)
        self._scores: list[Evaluated] = []

    @property
    def missing(self) -> list[str]:
        """Evaluators that have not answered."""
        return [*self._missing]

    @property
    def scored(self) -> bool:
        """Whether anybody has given a score."""
        return bool(self._scores)

    def ask(self) -> Iterator[Action]:
        """Ask all of them."""
        for agent in self.evaluators:
            task = EvaluateTask(
                epoch=self._brief.epoch,
                job=self._brief.job,
                version=self.version,
                params=self._brief.params,
                trainer=self._brief.file.trainer,
                members=len(self.evaluators),
            )
            yield Ask(keys.EvaluationRequest(self._brief.job, agent), agent, task)

    def take(self, agent: str, score: Evaluated) -> Iterator[Action]:
        """Take an answer; the first one of each counts."""
        if agent not in self._missing or score.version != self.version.version:
            return
        yield from self.give_up((agent,))
        if reason := score.reason or impossible(score.metrics):
            facts = {"job": self._brief.job, "agent": agent, "reason": reason}
            yield Note("score_failed", facts)
        else:
            self._scores.append(score)

    def give_up(self, agents: Sequence[str]) -> Iterator[Action]:
        """Wait no longer for these."""
        for agent in agents:
            self._missing.pop(agent, None)
            yield Cancel(keys.EvaluationRequest(self._brief.job, agent))

    def metrics(self, trained: Mapping[str, float]) -> dict[str, float]:
        """Put held-out figures beside those of training, which are told apart by `train_`."""
        figures = mean_of(self._scores) | as_trained(trained)
        known = (
            (name, value) for name, value in figures.items() if len(name) <= MAX_IDENT_CHARACTERS
        )
        return dict(islice(known, MAX_METRICS))


def mean_of(scores: Sequence[Evaluated]) -> dict[str, float]:
    """Average scores metric by metric, weighted by examples."""
    means: dict[str, float] = {}
    for name in sorted({name for score in scores for name in score.metrics}):
        having = [score for score in scores if name in score.metrics]
        examples = sum(score.examples for score in having)
        # Shares, not sums: a figure near the largest float must not become infinite.
        parts = [score.metrics[name] * (score.examples / max(1, examples)) for score in having]
        if examples and math.isfinite(mean := sum(parts)):
            means[name] = bounded(name, mean)
    return means
