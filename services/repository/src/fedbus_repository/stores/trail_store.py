"""Protocol of a store: tags, aliases and lineage of versions."""

from collections.abc import Mapping
from typing import Protocol

from fedbus.wire.messages import (
    ListNameChanges,
    ListRelatives,
    PromoteVersion,
    RollBackAlias,
    TagVersion,
)
from fedbus_repository.stores.damaged_records import DamagedModel
from fedbus_repository.stores.records import StoreRefusal
from fedbus_repository.stores.trail_answers import NameChangePage, NamedVersions, RelativePage


class TrailStore(Protocol):
    """The names of versions, and how they descend from each other; a part of `Store`.

    Each change of a name is one document, which is never changed or deleted. Repeated, a request
    changes nothing.
    """

    def tag(self, request: TagVersion, by: str) -> NamedVersions | StoreRefusal:
        """Add, move or remove a tag for the node `by`, and return all names of the model.

        A version that is tagged keeps its weights.
        """

    def promote(self, request: PromoteVersion, by: str) -> NamedVersions | StoreRefusal:
        """Make an alias name a version, or remove it, and return all names of the model.

        Refused if the weights are deleted, damaged or encrypted. From then on they are kept, and so
        are those of the last versions that a roll-back would return to.
        """

    def roll_back(self, request: RollBackAlias, by: str) -> NamedVersions | StoreRefusal:
        """Make an alias name the version before, if that could be promoted.

        Else it is refused; with `or_remove`, the alias names the nearest earlier version that could
        be promoted, or is removed.
        """

    def named_versions(self) -> Mapping[str, NamedVersions | DamagedModel]:
        """Return the names of each model that has ever had one, or why they cannot be read."""

    def name_changes(self, request: ListNameChanges) -> NameChangePage | StoreRefusal:
        """Return a page of the history of a model's names."""

    def relatives(self, request: ListRelatives) -> RelativePage | StoreRefusal:
        """Return a page of the ancestors, descendants or leaves of a version."""
