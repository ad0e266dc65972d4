"""Features of a MistNet job in messages and plans: what agents compute and send once."""

from dataclasses import dataclass
from typing import Annotated

from fedbus.limits import MAX_MODEL_NUMBERS
from fedbus.scalars import Strict
from fedbus.wire.blobs import BlobLocation, BlobRef
from fedbus.wire.identifiers import NodeName

MAX_FEATURE_AGENTS = 2000
"""Agents whose features one job may use: a plan names each of them with its blob."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureTerms:
    """What a MistNet job promises to those whose examples become features.

    Attributes:
        cut_layer: Number of the model's layers that compute the features.
        epsilon: Twice the ε of one bit; see `fedbus.privacy.unary_randomized_response`.
        features: Number of features of one example, each sent as one bit.
    """

    cut_layer: Annotated[int, Strict(ge=1, le=10_000)]
    epsilon: Annotated[float, Strict(gt=0, le=1000, allow_inf_nan=False)]
    features: Annotated[int, Strict(ge=1, le=MAX_MODEL_NUMBERS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFeatures:
    """The blob of an agent's features, which it serves until the job ends."""

    agent: NodeName
    features: BlobRef
    examples: Annotated[int, Strict(ge=1, lt=2**53)]

    @property
    def location(self) -> BlobLocation:
        """Where the blob is served."""
        return BlobLocation(blob_ref=self.features, source=self.agent)
