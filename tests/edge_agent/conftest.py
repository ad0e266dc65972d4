"""The agent that most tests of its orders begin with."""

from pathlib import Path

import pytest

from tests.edge_agent.harness import AgentHarness


@pytest.fixture
def harness(tmp_path: Path) -> AgentHarness:
    """Set up an agent that has nothing to do."""
    return AgentHarness(tmp_path)
