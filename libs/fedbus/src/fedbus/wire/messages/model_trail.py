"""Messages of users about a model's versions: tags, aliases, and how versions descend."""

from dataclasses import dataclass
from typing import Annotated, Literal

from fedbus.limits import MAX_ALIASES
from fedbus.scalars import Bounds, Flag, Ident, Strict, Text, Whole
from fedbus.wire.blobs import ModelRef
from fedbus.wire.messages.model_requests import VersionFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class TagVersion:
    """Add a tag to a version of a model (null: the latest), or remove it.

    A tag names one version of a model. A tag that another version has is moved to this one.
    """

    model: Ident
    version: Whole | None
    tag: Ident
    remove: Flag = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionTagged:
    """The version has these tags now."""

    model: Ident
    version: Whole
    tags: Annotated[tuple[Ident, ...], Bounds(max_length=MAX_ALIASES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteVersion:
    """Point an alias of a model at a version; null: the latest.

    Refused if `expected` is stated and the alias names another version now; 0: it must not exist.
    """

    model: Ident
    alias: Ident
    version: Whole | None
    expected: Whole | None = None
    note: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RollBackAlias:
    """Point an alias back at the version that it named before its last promotion.

    Repeated, it goes further back; `expected` as for `PromoteVersion`: a repeated request states
    the version that it takes back, and so changes nothing the second time.
    """

    model: Ident
    alias: Ident
    expected: Whole
    note: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasMoved:
    """The alias names this version now; `before` is the one that a roll-back would name."""

    alias: Ident
    version: ModelRef
    before: Whole | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRelatives:
    """Return versions that a version descends from, or that descend from it.

    `ancestors`: its parents, nearest first. `descendants`: all versions below it, by number.
    `leaves`: those of them that no version descends from. The answer starts after version `after`.
    """

    model: Ident
    version: Whole | None
    relation: Literal["ancestors", "descendants", "leaves"]
    limit: Annotated[int, Strict(ge=1, le=1_000)] = 100
    after: Whole | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RelativesListed:
    """A page of versions; `more`: further ones follow the last."""

    model: Ident
    version: Whole
    relation: Literal["ancestors", "descendants", "leaves"]
    versions: Annotated[tuple[VersionFacts, ...], Bounds(max_length=1_000)]
    more: Flag = False
