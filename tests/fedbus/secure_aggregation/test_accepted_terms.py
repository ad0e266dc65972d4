"""Terms and cohorts that an agent declines, whatever its controller asks for."""

import pytest

from fedbus.errors import MaskingError
from fedbus.secure_aggregation.accepted_terms import SAFE_TERMS, AcceptedTerms
from tests.fedbus.secure_aggregation.masked_agents import Federation, names, terms
from tests.fedbus.secure_aggregation.test_agent_steps import federation_at


def declined(accepted: AcceptedTerms, neighbours: int, threshold: float, agents: int) -> str:
    """Return why terms for a cohort are declined, or ""."""
    try:
        accepted.check_terms(terms(neighbours, threshold))
        accepted.check_cohort(terms(neighbours, threshold), names(agents))
    except MaskingError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("neighbours", "threshold", "agents"),
    [(40, 0.67, 3), (40, 0.67, 1000), (40, 0.51, 41), (2, 0.67, 4), (99, 0.6, 100)],
)
def test_terms_that_a_job_may_have_are_accepted(
    neighbours: int, threshold: float, agents: int
) -> None:
    """Unless the agent's operator demands more."""
    assert declined(SAFE_TERMS, neighbours, threshold, agents) == ""


@pytest.mark.parametrize(
    ("neighbours", "threshold", "agents"), [(40, 0.6, 100), (20, 0.66, 22), (8, 0.51, 20)]
)
def test_terms_without_a_guarantee_are_declined(
    neighbours: int, threshold: float, agents: int
) -> None:
    """A controller that follows its own rules sends no such terms."""
    assert declined(SAFE_TERMS, neighbours, threshold, agents) == (
        f"threshold {threshold:g} and {neighbours} neighbours among {agents} agents promise "
        "nothing against a dishonest collector, and this agent demands 0 "
        "(FEDBUS_MASKING_LEAST_COLLUDERS)"
    )


@pytest.mark.parametrize(
    ("accepted", "reason"),
    [
        (AcceptedTerms(threshold=0.67, neighbours=40, agents=28), ""),
        (
            AcceptedTerms(threshold=0.7),
            (
                "the job's threshold is 0.67, and this agent accepts 0.7 or more "
                "(FEDBUS_MASKING_LEAST_THRESHOLD)"
            ),
        ),
        (
            AcceptedTerms(neighbours=99),
            (
                "the job's neighbours are 40, and this agent accepts 99 or more "
                "(FEDBUS_MASKING_LEAST_NEIGHBOURS)"
            ),
        ),
        (
            AcceptedTerms(agents=29),
            (
                "a sum of this cohort may have 28 agents, and this agent accepts 29 or more "
                "(FEDBUS_MASKING_LEAST_AGENTS)"
            ),
        ),
        (
            AcceptedTerms(colluders=3),
            (
                "threshold 0.67 and 40 neighbours among 100 agents promise to withstand 0 "
                "colluding agents, and this agent demands 3 (FEDBUS_MASKING_LEAST_COLLUDERS)"
            ),
        ),
    ],
)
def test_what_an_operator_demands_is_declined_by_its_setting(
    accepted: AcceptedTerms, reason: str
) -> None:
    """On a circle a sum may be that of one neighbourhood."""
    assert declined(accepted, 40, 0.67, 100) == reason


def test_a_set_with_too_few_survivors_is_not_signed() -> None:
    """The threshold of the job would allow it."""
    federation = federation_at("survivors", 5, accepted=AcceptedTerms(agents=5))
    collector = federation.collector
    few = federation.names[:4]
    collector._progress.survivors = few  # noqa: SLF001 - as a dishonest collector
    step, content = collector.requests()[few[0]]
    with pytest.raises(
        MaskingError, match=r"the set of survivors has 4 agents, and this agent accepts 5 or more"
    ):
        federation.agents[few[0]].answer(step, content)


def test_an_agent_makes_no_keys_for_a_cohort_that_it_declines() -> None:
    """Nothing has been said or kept then."""
    federation = Federation(5, accepted=AcceptedTerms(agents=6))
    name = federation.names[0]
    step, content = federation.collector.requests()[name]
    before = federation.agents[name].to_bytes()
    with pytest.raises(MaskingError, match="may have 5 agents, and this agent accepts 6"):
        federation.agents[name].answer(step, content)
    assert federation.agents[name].to_bytes() == before
