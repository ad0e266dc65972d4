"""Loaders and transforms that want to end the process."""

from pathlib import Path

import numpy as np
import pytest

from fedbus.data import from_arrays
from fedbus.data.format import format_of
from fedbus.datasource.config import read
from fedbus.datasource.pipeline import Pipeline, read_steps
from fedbus.errors import PluginError, TrainingError
from tests.plugin_package import Install

SOURCE = """
import sys

def leaving(path):
    sys.exit(0)

class Leaving:
    def __init__(self, at):
        self.at = at
        self.leave("made")
    def leave(self, at):
        if at == self.at:
            sys.exit(3)
    def transform_format(self, form):
        self.leave("format")
        return form
    def transform_data(self, batch, rng):
        self.leave("data")
        return batch
"""
ENTRIES = """
[fedbus.loaders]
leaving = acme_leaving:leaving
[fedbus.transforms]
leave = acme_leaving:Leaving
"""


@pytest.fixture(autouse=True)
def installed(install: Install) -> None:
    """A package whose parts leave."""
    install("acme_leaving", ENTRIES, SOURCE)


def test_a_loader_that_leaves_is_named(tmp_path: Path) -> None:
    """An agent ended without a log line and with exit code 0, so it was not restarted."""
    with pytest.raises(PluginError, match=r"loader leaving: .*: SystemExit: 0"):
        read(tmp_path / "data", "leaving")


@pytest.mark.parametrize("at", ["made", "format", "data"])
def test_a_transform_that_leaves_is_named(at: str) -> None:
    """Whenever it does."""
    data = from_arrays(np.zeros((4, 2), np.float32), np.zeros(4, np.int64))

    def use() -> None:
        steps = read_steps([{"id": "leave", "parameters": {"at": at}}])
        pipeline = Pipeline(steps, format_of(data))
        pipeline.apply(next(iter(data.peek())), np.random.default_rng(0))

    with pytest.raises((PluginError, TrainingError), match=r"\(leave\): SystemExit: 3"):
        use()
