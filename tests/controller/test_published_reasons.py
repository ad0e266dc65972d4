"""Sentences about private jobs: without names of agents, in whatever form they are listed."""

import pytest

from fedbus.text import listed
from fedbus_controller.published_reasons import (
    WITHHELD,
    ControllerSentence,
    published_reason,
    without_agents,
)

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


def test_only_what_the_controller_composed_is_published_of_a_private_job() -> None:
    """A sentence without the mark is withheld, whatever it says, and so is what is made of one."""
    own = ControllerSentence("agent.a is lost")
    assert published_reason(own) == "an agent is lost"
    assert published_reason("") == published_reason(ControllerSentence("")) == ""
    for other in ("anna has 9 rows", str(own), f"{own}: 35 examples", own[:7], own + "; 9 rows"):
        assert published_reason(other) == WITHHELD
