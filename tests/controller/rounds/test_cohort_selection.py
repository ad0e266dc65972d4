"""Selection of a cohort, whatever a third-party selector returns."""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from random import Random
from typing import Any

import pytest

from fedbus.errors import PluginError
from fedbus.plugins import AgentInfo
from fedbus_controller.rounds.cohort_selection import (
    TOO_FEW_SECONDS,
    CohortSelection,
    InvalidSelection,
    IsolatedSelector,
    TooFewSelected,
)

AGENTS = [AgentInfo(agent=f"agent.{name}") for name in "abc"]
NAMES = tuple(info.agent for info in AGENTS)


def choose(
    returned: object, now: float = 0.0, selection: CohortSelection | None = None
) -> Sequence[str]:
    """Select with a selector that returns this; two of three agents are wanted and needed."""
    selection = selection or CohortSelection("own", 2, 2)

    def selector(_agents: Sequence[AgentInfo], want: int, rng: Random, /) -> Any:  # noqa: ANN401
        assert (want, isinstance(rng, Random)) == (2, True)
        return returned

    return selection.select(selector, AGENTS, Random(0), now)


@pytest.mark.parametrize(
    "returned",
    [
        ["agent.b", "agent.a"],
        ("agent.b", "agent.b", "agent.a"),
        ["agent.none", "agent.b", "agent.a", "agent.c"],
        {"agent.b": 1, "agent.a": 2},
        iter(["agent.b", "agent.a"]),
    ],
    ids=["list", "twice", "too many and a stranger", "mapping", "iterator"],
)
def test_enough_known_agents_are_a_cohort(returned: object) -> None:
    """Each once, in the selector's order, at most as many as wanted."""
    assert choose(returned) == ("agent.b", "agent.a")


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (
            ["agent.none"],
            "chose none of agent.a, agent.b, agent.c; it named agent.none, which it was not given",
        ),
        (None, "returned None, not a list of names"),
        ("agent.a", "returned 'agent.a', not a list of names"),
        (b"agent.a", "returned b'agent.a', not a list of names"),
        (3, "returned 3, not a list of names"),
        ([AGENTS[0]], "not an agent's name; return info.agent"),
        ([1, 2], "named 1, not an agent's name"),
        ([["agent.a"]], "named ['agent.a'], not an agent's name"),
    ],
)
def test_an_invalid_selection_is_reported_at_once(returned: object, said: str) -> None:
    """With the selector's name, for its author."""
    with pytest.raises(InvalidSelection) as wrong:
        choose(returned)
    assert str(wrong.value).startswith("selector 'own' ")
    assert said in str(wrong.value)


@pytest.mark.parametrize("returned", [[], ["agent.a"], ["agent.a", "agent.none"]])
def test_too_few_are_asked_for_again_and_then_the_job_ends(returned: list[str]) -> None:
    """Agents and their load change, so a selector may have more to choose from in a moment."""
    selection = CohortSelection("own", 2, 2)
    known = len([name for name in returned if name in NAMES])
    short = f"selector 'own' chose {known} of 3 agents, 2 are needed"
    for now in (10.0, 10.0 + TOO_FEW_SECONDS - 1):
        with pytest.raises(TooFewSelected, match=short):
            choose(returned, now, selection)
    with pytest.raises(InvalidSelection, match=f"{short}.*; for 60 s"):
        choose(returned, 10.0 + TOO_FEW_SECONDS, selection)


def test_enough_agents_reset_the_time_limit() -> None:
    """Only too few agents without interruption count."""
    selection = CohortSelection("own", 2, 2)
    with pytest.raises(TooFewSelected):
        choose([], 0.0, selection)
    choose(NAMES, 50.0, selection)
    with pytest.raises(TooFewSelected):
        choose([], 70.0, selection)


def _hangs(*_: object) -> Sequence[str]:
    threading.Event().wait(5.0)
    return ["agent.late"]


def _endless(*_: object) -> Any:  # noqa: ANN401 - no sequence, as a third-party plug-in may
    return (f"agent.{number}" for number in count())


def _exits(*_: object) -> Sequence[str]:
    sys.exit(4)


def _interrupts(*_: object) -> Sequence[str]:
    raise KeyboardInterrupt


def _fails_late(*_: object) -> Iterator[str]:
    yield "agent.a"
    raise RuntimeError("too late")


@pytest.mark.parametrize(
    ("selector", "said"),
    [
        (_hangs, "it did not answer in 0.05 s"),
        (_exits, "it called sys.exit: 4"),
        (_interrupts, "KeyboardInterrupt"),
        (_fails_late, "too late"),
    ],
)
def test_a_selector_cannot_stop_its_controller(selector: Callable[..., Any], said: str) -> None:
    """Neither by hanging, nor by exiting, nor by raising KeyboardInterrupt."""
    with pytest.raises(PluginError, match=said):
        IsolatedSelector("own", selector, 0.05)(AGENTS, 2, Random(0))


def test_an_isolated_selector_returns_the_names() -> None:
    """A generator is read in the thread, up to a limit."""
    assert IsolatedSelector("own", lambda *_: ["agent.a"])(AGENTS, 1, Random(0)) == ["agent.a"]
    assert IsolatedSelector("own", lambda *_: "agent.a")(AGENTS, 1, Random(0)) == "agent.a"
    assert len(IsolatedSelector("own", _endless)(AGENTS, 1, Random(0))) == 100_000
