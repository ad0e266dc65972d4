"""Errors of a client: what was asked for failed, was refused, or had no answer."""

from collections.abc import Mapping
from typing import Any

from fedbus.errors import FedbusError
from fedbus.wire.job_faults import format_faults, read_refusal


class Failed(FedbusError):  # noqa: N818 - named for what happened, as its exit code is
    """What was asked for did not succeed."""


class Unreachable(FedbusError):  # noqa: N818 - as above
    """No cluster was found, or a broker or service did not answer in time."""


class Refused(FedbusError):  # noqa: N818 - as above
    """A service refused a request and said why, or what was named does not exist.

    Attributes:
        answer: The service's answer as its JSON has it; of a repository, `reason` and `kind` of its
            `RequestRefused`; empty where there is none.
    """

    def __init__(self, said: str, answer: Mapping[str, Any] | None = None) -> None:
        self.answer = dict(answer or {})
        super().__init__(said)


class JobRefused(Refused):
    """The controller refused a job.

    Attributes:
        faults: Every fault found, with the key of the job file, the problem and a hint.
    """

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.faults = tuple(read_refusal(answer))
        super().__init__(format_faults("the controller refused the job", self.faults), answer)

    @property
    def taken(self) -> bool:
        """Whether the id belongs to another job."""
        return any(fault.key == "training_id" for fault in self.faults)
