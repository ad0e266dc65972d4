"""Status of a model in this process: its versions, and whether each answers now. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedbus_inference.served_version import ServedVersion


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """A version of a model in this process.

    Attributes:
        served: The loaded version, with its inputs and outputs; None while it is not ready.
        reason: Why it is not ready; empty if it is.
    """

    version: int
    served: ServedVersion | None
    reason: str = ""

    @property
    def ready(self) -> bool:
        """Return whether requests to this version are answered now."""
        return self.served is not None


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A model that the repository has announced, or that a local folder has.

    Attributes:
        default: The version that answers requests without a version choice; None: not ready.
        versions: Each version that is loaded or being loaded, ordered by number.
        reason: Why there is no default version yet; empty if there is one.
        aliases: The version that each alias names, and `latest` the newest one.
    """

    model: str
    default: int | None
    versions: tuple[VersionStatus, ...]
    reason: str = ""
    aliases: Mapping[str, int] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Return whether requests without a version choice are answered now."""
        return self.default is not None

    def version(self, number: int) -> VersionStatus | None:
        """Return a version's status; None if it is neither loaded nor being loaded."""
        return next((each for each in self.versions if each.version == number), None)
