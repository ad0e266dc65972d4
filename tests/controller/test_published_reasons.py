"""Sentences about private jobs: without names of agents, in whatever form they are listed."""

import pytest

from fedbus.text import listed
from fedbus_controller.published_reasons import failure_without_figures, without_agents

MANY = listed(f"agent.{number}" for number in range(30))


@pytest.mark.parametrize(
    ("sentence", "published"),
    [
        ("", ""),
        ("waiting for a collector", "waiting for a collector"),
        ("offline: agent.a-1.x.", "offline: an agent."),
        ("3 are online; offline: agent.a, agent.b", "3 are online; offline: 2 agents"),
        (f"offline: {MANY}; 2 cannot", "offline: 30 agents; 2 cannot"),
        ("chose none of agent.agent.a, agent.b", "chose none of 2 agents"),
        (
            (
                "agent.a is left out: it has x; agent.b is left out: it has x; "
                "agent.c is left out: it has y"
            ),
            "2 agents are left out: it has x; an agent is left out: it has y",
        ),
        ("the same; the same", "the same"),
    ],
)
def test_names_become_numbers(sentence: str, published: str) -> None:
    """And a sentence without names stays as it is."""
    assert without_agents(sentence) == published
    assert without_agents(published) == published


def test_a_budget_is_no_share_of_a_cohort() -> None:
    """Only how many of a secret cohort came is left out."""
    budget = "the ledger takes no entry: ε 2.95 of 3 after 2 ledger entries"
    assert failure_without_figures(budget, secret=True) == budget
    came = "2 of 3 updates, 3 are needed; 1 refused: agent.a has 9 rows"
    assert failure_without_figures(came, secret=True) == "too few updates, 3 are needed"
    assert failure_without_figures(came, secret=False) == "2 of 3 updates, 3 are needed"
