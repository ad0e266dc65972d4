"""Key `privacy-mechanisms` of a job file: a mechanism, and what is accounted for it. Pure."""

from collections.abc import Iterator, Mapping
from typing import Final, Literal, get_args

from pydantic import Field

from fedbus.jobs.field_types import JobFileObject
from fedbus.jobs.privacy_options import (
    DpAdaptive,
    DpBanded,
    DpFixed,
    DpSgd,
    Epsilon,
    LdpGaussian,
    LdpLaplace,
    LdpRandomizedResponse,
    MechanismOptions,
    MetricPrivacy,
    Mistnet,
    Share,
)
from fedbus.jobs.protection_options import Homomorphic, SecureAggregation


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


class PrivacyMechanisms(JobFileObject):
    """At most one privacy mechanism and one protection of a job, and what is accounted for it."""

    homomorphic: Homomorphic | None = None
    secure_aggregation: SecureAggregation | None = Field(default=None, alias="secure-aggregation")
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
    def is_empty(self) -> bool:
        """Whether it asks for nothing: it has neither a mechanism nor another key."""
        return self == PrivacyMechanisms()

    @property
    def chosen(self) -> tuple[str, MechanismOptions] | None:
        """The job's mechanism with its key; None: it has none."""
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if isinstance(value, MechanismOptions):
                return field.alias or name, value
        return None

    @property
    def protection(self) -> Homomorphic | SecureAggregation | None:
        """What hides single updates from the collector; None: it can read them."""
        return self.homomorphic or self.secure_aggregation

    @property
    def collector_noises(self) -> bool:
        """Whether a mechanism that lets the job choose has the collector draw the noise.

        By default it does, unless it cannot read what it would add the noise to.
        """
        central = self.dp_fixed or self.dp_adaptive
        asked = None if central is None else central.server_side_noising
        return self.protection is None if asked is None else asked


def _options() -> Iterator[tuple[str, type[MechanismOptions]]]:
    for name, field in PrivacyMechanisms.model_fields.items():
        for options in get_args(field.annotation):
            if issubclass(options, MechanismOptions):
                yield field.alias or name, options


MECHANISM_OPTIONS: Final[Mapping[str, type[MechanismOptions]]] = dict(_options())
"""The options of each mechanism, by its key."""
MECHANISMS: Final = tuple(MECHANISM_OPTIONS)
"""The keys of mechanisms, of which a job may have one."""
