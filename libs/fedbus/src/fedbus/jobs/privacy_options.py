"""Privacy mechanisms as a job file chooses them, with what is accounted beside them. Pure.

The types and bounds are here; `privacy_consistency` states which values contradict each other, and
`fedbus.strategies.privacy_terms` what a job promises with them.
"""

from typing import Annotated, Final, Literal

from pydantic import Field

from fedbus.jobs.field_types import NOT_A_FLAG, JobFileObject, Label, Whole
from fedbus.limits import MAX_COHORT_AGENTS, MAX_MODEL_NUMBERS
from fedbus.scalars import IDENT

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
    "it to its own."
)


class OfCohort(JobFileObject):
    """A mechanism that bounds and noises the updates of a cohort."""

    num_sampled_clients: Cohort = Field(description=_WANTED)


class DpFixed(OfCohort):
    """Differential privacy of agents: updates are clipped to a fixed norm, and noise is added."""

    noise_multiplier: Multiplier = Field(description=_OF_SUM)
    clipping_norm: Norm = Field(description=_L2)
    server_side_noising: bool = Field(default=True, description=_SIDE)


class DpAdaptive(OfCohort):
    """Differential privacy of agents, with a clipping norm that follows a quantile of the norms."""

    init_clip_norm: Norm = Field(default=0.1, description="The clipping norm of the first round.")
    noise_multiplier: Multiplier = Field(default=1.0, description=_OF_SUM)
    server_side_noising: bool = Field(default=True, description=_SIDE)
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


class DpSgd(JobFileObject):
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


class Mistnet(JobFileObject):
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


class Homomorphic(JobFileObject):
    """Averaging on ciphertexts."""

    poly_modulus_degree: Whole | None = None
    coeff_mod_bit_sizes: tuple[Whole, ...] | None = None
    scale_bits: Whole | None = None
    scheme: Label | None = None


class Accounting(JobFileObject):
    """What a job's ε is computed for, and where the job ends because of it."""

    delta: Share | None = Field(
        default=None,
        description="The δ for which ε is computed: less than 1 divided by strategy.population, or "
        "by num_sampled_clients without one, or by least_examples with dp-sgd. The smaller of 1e-5 "
        "and that number to the power of 1.1 if left out.",
    )
    target_epsilon: Epsilon | None = Field(
        default=None,
        description="The job ends before the round that would make its ε greater than this.",
    )
    sampling: Literal["any", "poisson"] = Field(
        default="any",
        description="poisson: each agent is drawn on its own, with the probability "
        "num_sampled_clients / strategy.population and in secret, which makes ε smaller; a round "
        "may have no agent. any: plugins.selector chooses.",
    )
    accountant: Literal["pld", "rdp"] = Field(
        default="pld",
        description="pld: privacy loss distributions, the smaller ε; rdp: Rényi divergences, the "
        "faster one.",
    )


Mechanism = (
    DpFixed
    | DpAdaptive
    | DpBanded
    | MetricPrivacy
    | LdpLaplace
    | LdpGaussian
    | LdpRandomizedResponse
    | DpSgd
    | Mistnet
)


class PrivacyMechanisms(JobFileObject):
    """At most one privacy mechanism of a job, and what is accounted for it."""

    homomorphic: Homomorphic | None = None
    dp_fixed: DpFixed | None = Field(default=None, alias="dp-fixed")
    dp_adaptive: DpAdaptive | None = Field(default=None, alias="dp-adaptive")
    dp_banded: DpBanded | None = Field(default=None, alias="dp-banded")
    metric_privacy: MetricPrivacy | None = Field(default=None, alias="metric-privacy")
    ldp_laplace: LdpLaplace | None = Field(default=None, alias="ldp-laplace")
    ldp_gaussian: LdpGaussian | None = Field(default=None, alias="ldp-gaussian")
    ldp_randomized_response: LdpRandomizedResponse | None = Field(
        default=None, alias="ldp-randomized-response"
    )
    dp_sgd: DpSgd | None = Field(default=None, alias="dp-sgd")
    mistnet: Mistnet | None = None
    accounting: Accounting | None = None

    @property
    def chosen(self) -> tuple[str, Mechanism] | None:
        """The job's mechanism with its key; None: it has none."""
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if isinstance(value, Mechanism):
                return field.alias or name, value
        return None


_NO_MECHANISM: Final = frozenset({"accounting", "homomorphic"})
MECHANISMS: Final = tuple(n for n in PrivacyMechanisms.names() if n not in _NO_MECHANISM)
"""The keys of mechanisms, of which a job may have one."""
