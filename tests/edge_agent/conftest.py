"""Fixture of an agent that most tests of tasks begin with."""

from pathlib import Path

import pytest

from tests.edge_agent.harness import AgentHarness


@pytest.fixture
def harness(tmp_path: Path) -> AgentHarness:
    """Return an agent that has nothing to do."""
    return AgentHarness(tmp_path)
