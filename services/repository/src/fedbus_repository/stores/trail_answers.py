"""Answers of a store about names and lineage of versions. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from fedbus.wire.messages.model_trail import NameChange
from fedbus_repository.stores.records import Version
from fedbus_repository.stores.version_names import ModelNames


@dataclass(frozen=True, slots=True)
class NamedVersions:
    """The tags and aliases of a model, and the version that each alias names."""

    names: ModelNames
    aliased: Mapping[str, Version]


@dataclass(frozen=True, slots=True)
class NameChangePage:
    """Changes of names, newest first; `more`: older ones follow."""

    changes: tuple[NameChange, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class RelativePage:
    """Relatives of a version (None: of all) in the order that was asked for; `more` follow."""

    version: int | None
    versions: tuple[Version, ...]
    more: bool
