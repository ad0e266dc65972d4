"""Messages of users about a model's versions: tags, aliases, and how versions descend."""

from dataclasses import dataclass
from typing import Annotated, Literal

from fedbus.limits import MAX_ROLL_BACKS, MAX_TAGS
from fedbus.scalars import Bounds, Flag, Ident, Strict, Text, Whole
from fedbus.wire.blobs import ModelRef
from fedbus.wire.identifiers import ChangeAuthor, Timestamp
from fedbus.wire.messages.model_requests import VersionFacts

MAX_PAGE_VERSIONS = 1_000
"""Versions, or changes of names, in one answer."""

PageLimit = Annotated[int, Strict(ge=1, le=MAX_PAGE_VERSIONS)]
Relation = Literal["ancestors", "descendants", "leaves"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NameChange:
    """A change of a tag or an alias of a model, as it is stored: never changed, never deleted.

    `number` counts the changes of all names of the model, from 1. `version` is the one that the
    name stands for since then, `replaced` the one before; null: none. `earlier` are the versions
    that roll-backs of the alias return to, the nearest first. `by` is the node that asked for it,
    or the token of an HTTP request, as `http.TOKEN`.
    """

    model: Ident
    number: Whole
    name: Ident
    kind: Literal["tag", "untag", "promotion", "roll-back", "removal"]
    version: Whole | None
    replaced: Whole | None
    by: ChangeAuthor
    note: Text = ""
    earlier: Annotated[tuple[Whole, ...], Bounds(max_length=MAX_ROLL_BACKS)] = ()
    at: Timestamp | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TagVersion:
    """Add a tag to a version of a model, or remove it (`version`: null).

    A tag names one version of a model: one that another version has is moved to this one.
    """

    model: Ident
    version: Whole | None
    tag: Ident
    note: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionTagged:
    """The tag names this version of the model now (null: none), as one of these tags."""

    model: Ident
    tag: Ident
    version: Whole | None
    tags: Annotated[dict[Ident, Whole], Bounds(max_length=MAX_TAGS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteVersion:
    """Make an alias of a model name a version; null removes the alias.

    Refused if `expected` is stated and the alias names another version now; 0: it must name none.
    """

    model: Ident
    alias: Ident
    version: Whole | None
    expected: Whole | None = None
    note: Text = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RollBackAlias:
    """Make an alias name the version again that it named before its last promotion.

    Repeated, it goes further back. `expected` is the version that is taken back: so a request that
    arrives a second time changes nothing, and one that another user was faster than is refused.
    It is also refused if there is no version before, or that one cannot be served any more; with
    `or_remove` it passes over such versions, and without one that is left it removes the alias.
    """

    model: Ident
    alias: Ident
    expected: Whole
    note: Text = ""
    or_remove: Flag = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasMoved:
    """The alias names this version now (null: none); a roll-back would name the one `before`."""

    model: Ident
    alias: Ident
    version: ModelRef | None
    before: Whole | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListNameChanges:
    """Return the changes of a model's tags and aliases, or of one `name`, newest first.

    The answer starts at the change below `before`.
    """

    model: Ident
    name: Ident | None = None
    limit: PageLimit = 100
    before: Whole | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NameChangesListed:
    """A page of changes; `more`: further ones follow the last."""

    model: Ident
    name: Ident | None
    before: Whole | None
    changes: Annotated[tuple[NameChange, ...], Bounds(max_length=MAX_PAGE_VERSIONS)]
    more: Flag = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRelatives:
    """Return versions that a version descends from, or that descend from it.

    `ancestors`: its base, the base of that one, and so on. `descendants`: all versions below it, by
    number. `leaves`: those of them that no version descends from. Without a version, the latest one
    is meant; and all leaves of the model. The answer starts after version `after`.
    """

    model: Ident
    version: Whole | None
    relation: Relation
    limit: PageLimit = 100
    after: Whole | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RelativesListed:
    """A page of relatives of a version (null: of all); `more`: further ones follow the last."""

    model: Ident
    version: Whole | None
    relation: Relation
    after: Whole | None
    versions: Annotated[tuple[VersionFacts, ...], Bounds(max_length=MAX_PAGE_VERSIONS)]
    more: Flag = False
