"""Least terms of masked rounds that an agent accepts, whatever its controller asks for. Pure.

Terms and cohort reach an agent through nodes that it need not trust. So it declines those that
would leave too few updates in a sum, or protect it from too few colluding agents.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from fedbus.errors import MaskingError
from fedbus.secure_aggregation.masked_task import LEAST_MASKED_AGENTS
from fedbus.secure_aggregation.neighbours import tolerance_of
from fedbus.text import counted
from fedbus.wire.secure_aggregation import SecureAggregationTerms


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedTerms:
    """What an agent's operator demands of masked rounds.

    Attributes:
        threshold: The least `threshold` of a job; one half is too little in any case.
        neighbours: The least `neighbours` of a job.
        agents: The fewest updates in a sum, this agent's included.
        colluders: How many agents of its neighbourhood may at least collude with a dishonest
            collector.
    """

    threshold: float = 0.5
    neighbours: int = 2
    agents: int = LEAST_MASKED_AGENTS
    colluders: int = 0

    def check_terms(self, terms: SecureAggregationTerms) -> None:
        """Decline terms before any key is made.

        Raises:
            MaskingError: They are weaker than this agent accepts.
        """
        if terms.threshold < self.threshold:
            raise MaskingError(
                f"the job's threshold is {terms.threshold:g}, and this agent accepts "
                f"{self.threshold:g} or more (FEDBUS_MASKING_LEAST_THRESHOLD)"
            )
        if terms.neighbours < self.neighbours:
            raise MaskingError(
                f"the job's neighbours are {terms.neighbours}, and this agent accepts "
                f"{self.neighbours} or more (FEDBUS_MASKING_LEAST_NEIGHBOURS)"
            )

    def check_cohort(self, terms: SecureAggregationTerms, cohort: Collection[str]) -> None:
        """Decline a cohort in which the terms promise less than this agent accepts.

        Raises:
            MaskingError: A dishonest collector could learn a sum of fewer agents, or is stopped
                only if fewer collude with it.
        """
        tolerance = tolerance_of(terms, len(cohort))
        # On a circle a dishonest collector may open the sum of one neighbourhood.
        least = tolerance.least if tolerance.size < len(cohort) else len(cohort)
        self._check_size(least, "a sum of this cohort may have")
        if tolerance.colluders < self.colluders:
            promised = (
                "nothing against a dishonest collector"
                if tolerance.colluders < 0
                else f"to withstand {counted(tolerance.colluders, 'colluding agent')}"
            )
            raise MaskingError(
                f"threshold {terms.threshold:g} and {terms.neighbours} neighbours among "
                f"{len(cohort)} agents promise {promised}, and this agent demands "
                f"{self.colluders} (FEDBUS_MASKING_LEAST_COLLUDERS)"
            )

    def check_sum(self, survivors: Collection[str]) -> None:
        """Refuse to sign a set whose sum has too few updates.

        Raises:
            MaskingError: It has fewer than this agent accepts.
        """
        self._check_size(len(survivors), "the set of survivors has")

    def _check_size(self, found: int, what: str) -> None:
        if found < self.agents:
            raise MaskingError(
                f"{what} {counted(found, 'agent')}, and this agent accepts {self.agents} or more "
                "(FEDBUS_MASKING_LEAST_AGENTS)"
            )


SAFE_TERMS: Final = AcceptedTerms()
"""What an agent demands unless its operator says otherwise: sums of three, and terms that hold
against a dishonest collector."""
