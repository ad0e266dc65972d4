"""Messages of the topic table, found by their names."""

import pytest

from fedbus.wire.topics import Link


def test_an_unknown_message_is_an_attribute_error() -> None:
    """A misspelt line of the topic table is reported by its name."""
    with pytest.raises(AttributeError, match="no attribute 'TrainTsk'"):
        _ = Link("TrainTsk", (), ()).message
