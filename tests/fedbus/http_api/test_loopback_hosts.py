"""Hosts that are this machine itself."""

import pytest

from fedbus.http_api.loopback_hosts import is_loopback


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("127.0.0.2", True),
        ("localhost", True),
        ("[::1]", True),
        ("0.0.0.0", False),  # noqa: S104 - it is compared
        ("10.0.0.7", False),
        ("example.org", False),
        ("localhost.example.org", False),
        ("", False),
    ],
)
def test_a_loopback_host_is_this_machine_s_own(host: str, own: bool) -> None:
    """Only there, an API may be asked without a token."""
    assert is_loopback(host) is own
