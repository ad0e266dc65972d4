"""Correlation keys of the repository's actions."""

from dataclasses import dataclass
from typing import Self

from fedbus.core.keys import Key
from fedbus_repository.stores.records import Version
from fedbus_repository.stores.trail_answers import NamedVersions


class AnnouncementTimer(Key):
    """Timer of the next announcement of every model's latest version."""


@dataclass(frozen=True, slots=True)
class RequestRun(Key):
    """Run of one step of a request; `subject` distinguishes it within its kind and sender."""

    request: str
    sender: str
    subject: tuple[str | int | None, ...] = ()

    @classmethod
    def of(cls, message: object, sender: str, *subject: str | int | None) -> Self:
        """Build the key of a message's request."""
        return cls(type(message).__name__, sender, subject)

    @property
    def name(self) -> str:
        """Return the request's name: `run:Commit` is a step of a commit."""
        return self.request


@dataclass(frozen=True, slots=True)
class UploadFetch(Key):
    """Fetch of a blob that a request uploads."""

    request: RequestRun
    digest: str

    @property
    def name(self) -> str:
        """Return the request's name: `fetch:Commit` fetches the weights of a commit."""
        return self.request.name


@dataclass(frozen=True, slots=True)
class StoredOverHttp:
    """A version that this process's HTTP API has stored: the core announces it."""

    version: Version


@dataclass(frozen=True, slots=True)
class NamedOverHttp:
    """Names of versions that this process's HTTP API has changed: the core announces them."""

    named: NamedVersions
