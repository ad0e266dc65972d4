"""Options of privacy mechanisms in a job file. Pure.

The types and bounds are here; `privacy_consistency` states which values contradict each other, and
`fedbus.strategies.privacy_terms` what a job promises with them.
"""

from typing import Annotated, Final

from pydantic import Field

from fedbus.jobs.field_types import NOT_A_FLAG, JobFileObject
from fedbus.limits import MAX_COHORT_AGENTS, MAX_MODEL_NUMBERS
from fedbus.scalars import IDENT
from fedbus.training.params import Argument
from fedbus.wire.privacy import DEFAULT_STDDEV_SHARE

Cohort = Annotated[int, Field(ge=1, le=MAX_COHORT_AGENTS), NOT_A_FLAG]
Multiplier = Annotated[float, Field(gt=0, le=10_000), NOT_A_FLAG]
Norm = Annotated[float, Field(gt=0, le=1_000_000), NOT_A_FLAG]
Share = Annotated[float, Field(gt=0, lt=1), NOT_A_FLAG]
Epsilon = Annotated[float, Field(gt=0, le=10_000), NOT_A_FLAG]
AgentName = Annotated[str, Field(pattern=rf"^agent\.{IDENT}$")]
Rounds = Annotated[int, Field(ge=1, le=100_000), NOT_A_FLAG]

_WANTED: Final = "Agents in a round, which means are divided by; round.agents, if given, is equal."
_OF_SUM: Final = (
    "Standard deviation of the noise in the sum of the updates, divided by the clipping norm."
)
_L2: Final = "Greatest L2 norm of an update; a longer one is scaled down to it."
_SIDE: Final = (
    "true: the collector adds the noise to the combined update; false: each agent adds a share of "
    "it to its own. Left out: true, or false with homomorphic or secure-aggregation."
)


class MechanismOptions(JobFileObject):
    """Options of one privacy mechanism, under its key in `privacy-mechanisms`."""

    @property
    def cohort(self) -> int | None:
        """The number of agents wanted in a round; None: the mechanism does not state it."""
        return None

    @property
    def separation(self) -> int:
        """Rounds from one participation of an agent to its next one, at least."""
        return 1

    @property
    def fewest_units(self) -> int | None:
        """The least number of protected units that data may have; None: as many as agents."""
        return None

    def part_parameters(self) -> dict[str, Argument]:
        """Return all parameters of the update transform, defaults included."""
        return dict(self.model_dump(exclude_none=True))


class OfCohort(MechanismOptions):
    """A mechanism that bounds and noises the updates of a cohort."""

    num_sampled_clients: Cohort = Field(description=_WANTED)

    @property
    def cohort(self) -> int:
        """The number of agents wanted in a round."""
        return self.num_sampled_clients


class DpFixed(OfCohort):
    """Differential privacy of agents: updates are clipped to a fixed norm, and noise is added."""

    noise_multiplier: Multiplier = Field(description=_OF_SUM)
    clipping_norm: Norm = Field(description=_L2)
    server_side_noising: bool | None = Field(default=None, description=_SIDE)


class DpAdaptive(OfCohort):
    """Differential privacy of agents, with a clipping norm that follows a quantile of the norms."""

    init_clip_norm: Norm = Field(default=0.1, description="The clipping norm of the first round.")
    noise_multiplier: Multiplier = Field(default=1.0, description=_OF_SUM)
    server_side_noising: bool | None = Field(default=None, description=_SIDE)
    clip_count_stddev: Multiplier | None = Field(
        default=None,
        description="Standard deviation of the noise in the number of updates that are not clipped;"
        " a twentieth of num_sampled_clients if left out. noise_multiplier must be less than twice "
        "this.",
    )
    clip_norm_target_quantile: Share = Field(
        default=0.5, description="The share of updates that are not clipped, which is aimed at."
    )
    clip_norm_lr: Annotated[float, Field(gt=0, le=10), NOT_A_FLAG] = Field(
        default=0.2, description="How fast the clipping norm changes from round to round."
    )

    def part_parameters(self) -> dict[str, Argument]:
        """Return all parameters of the update transform, with the default of clip_count_stddev."""
        stddev = self.num_sampled_clients * DEFAULT_STDDEV_SHARE
        return {"clip_count_stddev": stddev, **super().part_parameters()}


class DpBanded(OfCohort):
    """Differential privacy of agents with noise that later rounds partly take back."""

    noise_multiplier: Multiplier = Field(
        description="Standard deviation of the noise of the whole job, divided by the greatest "
        "change that one agent makes in it."
    )
    clipping_norm: Norm = Field(description=_L2)
    min_separation: Rounds = Field(
        description="An agent that took part in a round takes part again this many rounds later, or"
        " after that; no plan and no ledger entry may break it."
    )
    max_participations: Rounds = Field(
        description="Most rounds in which one agent takes part; no plan and no ledger entry may "
        "break it."
    )
    bands: Rounds | None = Field(
        default=None,
        description="Rounds over which the noise is correlated, at most min_separation, which it "
        "is if left out.",
    )

    @property
    def separation(self) -> int:
        """Rounds from one participation of an agent to its next one, at least."""
        return self.min_separation

    def part_parameters(self) -> dict[str, Argument]:
        """Return all parameters of the update transform, with the default of bands."""
        return {"bands": self.min_separation, **super().part_parameters()}


class MetricPrivacy(OfCohort):
    """Noise in proportion to the distance of the updates; it has no ε."""

    noise_multiplier: Multiplier = Field(
        description="Factor of the noise, whose standard deviation is this, times the clipping "
        "norm, divided by num_sampled_clients and by the distance of the updates."
    )
    clipping_norm: Norm = Field(description=_L2)


class LdpLaplace(OfCohort):
    """Local differential privacy: each agent adds Laplace noise to its update."""

    epsilon: Epsilon = Field(description="The ε of one round for each agent in it.")
    clipping_norm: Norm = Field(
        description="Greatest L1 norm of an update; a longer one is scaled down to it."
    )


class LdpGaussian(OfCohort):
    """Local differential privacy: each agent adds Gaussian noise to its update."""

    noise_multiplier: Multiplier = Field(
        description="Standard deviation of the noise in an update, divided by the clipping norm; "
        "half of it counts, since two updates may differ by twice the clipping norm."
    )
    clipping_norm: Norm = Field(description=_L2)


class LdpRandomizedResponse(OfCohort):
    """Local differential privacy: each number of an update becomes one bit, often a random one."""

    epsilon: Annotated[float, Field(gt=0, le=16), NOT_A_FLAG] = Field(
        description="The ε of one bit; an update has as many as the model has trained numbers."
    )
    clipping_norm: Norm = Field(description="Greatest absolute value of one number of an update.")
    trained_numbers: Annotated[int, Field(ge=1, lt=2**53), NOT_A_FLAG] | None = Field(
        default=None,
        description="Number of trained numbers of the model, for which ε is computed; a model with "
        "more is refused. Without it the job has no ε of use.",
    )

    def part_parameters(self) -> dict[str, Argument]:
        """Return all parameters of the update transform."""
        parameters = super().part_parameters()
        parameters.pop("trained_numbers", None)  # for the accountant only
        return parameters


class DpSgd(MechanismOptions):
    """Differential privacy of training examples: agents train with noisy, clipped gradients."""

    noise_multiplier: Multiplier = Field(
        description="Standard deviation of the noise in the sum of a batch's gradients, divided by "
        "max_grad_norm."
    )
    max_grad_norm: Norm = Field(
        default=1.0, description="Greatest L2 norm of the gradient of one example."
    )
    least_examples: Annotated[int, Field(ge=1, lt=2**53), NOT_A_FLAG] = Field(
        description="An agent with fewer training examples declines; ε is computed for this number."
    )

    @property
    def fewest_units(self) -> int:
        """The least number of examples that an agent's data may have."""
        return self.least_examples


class Mistnet(MechanismOptions):
    """Local differential privacy of features: agents send randomized features once.

    One of `trainers` trains the other layers on them; labels are sent as they are.
    """

    cut_layer: Annotated[int, Field(ge=1, le=10_000), NOT_A_FLAG] = Field(
        default=4, description="Number of the model's layers that agents compute."
    )
    epsilon: Annotated[float, Field(gt=0, le=1000), NOT_A_FLAG] = Field(
        default=100.0, description="Twice the ε of one feature."
    )
    features: Annotated[int, Field(ge=1, le=MAX_MODEL_NUMBERS), NOT_A_FLAG] = Field(
        description="Number of features of one example: ε is computed for it, features * epsilon / "
        "2, and an agent whose model has another number sends none."
    )
    trainers: Annotated[tuple[AgentName, ...], Field(min_length=1, max_length=16)] = Field(
        description="Agents that train on the features, `agent.NAME`; the first that is online "
        "does. They send no features."
    )
