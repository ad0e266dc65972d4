"""Errors of a client: what was asked for failed, was refused, or had no answer."""

from fedbus.errors import FedbusError


class Failed(FedbusError):  # noqa: N818 - named for what happened, as its exit code is
    """What was asked for did not succeed."""


class Unreachable(FedbusError):  # noqa: N818 - as above
    """No cluster was found, or a broker or service did not answer in time."""


class Refused(FedbusError):  # noqa: N818 - as above
    """A service refused a request and said why, or what was named does not exist."""
