"""Protocol of the records of tags and aliases; a part of `Records`."""

from typing import Protocol

from fedbus.wire.messages.model_trail import NameChange


class NameRecords(Protocol):
    """Changes of tags and aliases; they are never changed and never deleted."""

    def last_name_changes(self, model: str) -> tuple[NameChange, ...]:
        """Read the last change of each tag and alias of a model."""

    def named_models(self) -> tuple[str, ...]:
        """Return the models with at least one change, by name."""

    def name_changes(
        self, model: str, name: str | None, limit: int, before: int | None
    ) -> tuple[NameChange, ...]:
        """Read at most `limit` changes of a model, or of one name, below `before`, newest first."""

    def append_name_change(self, change: NameChange) -> None:
        """Write the next change of a model; one of this number must not exist."""
