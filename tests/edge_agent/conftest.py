"""The agent that most tests of its orders begin with."""

from pathlib import Path

import pytest

from tests.edge_agent.stand import Stand


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    """Set up an agent that has nothing to do."""
    return Stand(tmp_path)
