"""One of a thing is not many."""

import pytest

from fedbus.cli.counts import counted


@pytest.mark.parametrize(("number", "said"), [(0, "0 agents"), (1, "1 agent"), (2, "2 agents")])
def test_one_is_no_plural(number: int, said: str) -> None:
    """`1 agents` stood in every round of a fleet of one."""
    assert counted(number, "agent") == said
