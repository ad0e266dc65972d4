"""Messages of MistNet: the request for an agent's features, and the answer."""

from dataclasses import dataclass
from typing import Annotated

from fedbus.scalars import Ident, Strict, Text, Whole
from fedbus.training.params import TrainingParams
from fedbus.wire.blobs import BlobRef, ModelRef
from fedbus.wire.features import FeatureTerms
from fedbus.wire.identifiers import TaskNumber


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureTask:
    """Compute the features of all training examples with the base, and randomize them once.

    An agent that has features for the job answers with them again, whatever the task's number: the
    same examples are never randomized twice. `members` agents download the base together.
    """

    epoch: Whole
    job: Ident
    task: TaskNumber
    base: ModelRef
    terms: FeatureTerms
    params: TrainingParams
    trainer: Ident | None
    members: Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesReady:
    """The sender serves its features, or has none for this `reason` (`features` is null then)."""

    job: Ident
    task: TaskNumber
    features: BlobRef | None
    examples: Annotated[int, Strict(ge=0, lt=2**53)] = 0
    reason: Text = ""
