"""Names of versions: changes by tags, promotions and roll-backs, and reasons to refuse them. Pure.

Every change is one record with all that the next change needs to know, so that a store inserts one
document and changes none. A request that is repeated finds its own change, and changes nothing.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import dropwhile

from fedbus.limits import MAX_ALIASES, MAX_ROLL_BACKS, MAX_TAGS
from fedbus.text import in_given_order, listed
from fedbus.wire.identifiers import Timestamp
from fedbus.wire.messages import PromoteVersion, RollBackAlias, TagVersion
from fedbus.wire.messages.model_requests import RetentionReason
from fedbus.wire.messages.model_trail import NameChange
from fedbus.wire.version_choice import version_name_fault
from fedbus_repository.stores.records import StoreRefusal, Version

KEPT_ROLL_BACKS = 3
"""Roll-backs of an alias in a row whose versions keep their weights."""


@dataclass(frozen=True, slots=True)
class ModelNames:
    """The tags and aliases of a model, by the last change of each name."""

    model: str
    last: Mapping[str, NameChange]

    @classmethod
    def of(cls, model: str, changes: Iterable[NameChange]) -> "ModelNames":
        """Build from the last change of each name, in any order."""
        return cls(model, {each.name: each for each in changes})

    @property
    def changes(self) -> int:
        """The number of the last change of all."""
        return max((each.number for each in self.last.values()), default=0)

    @property
    def aliases(self) -> dict[str, int]:
        """The version that each alias names, by the alias."""
        return {
            name: each.version
            for name, each in sorted(self.last.items())
            if each.version is not None and each.kind != "tag"
        }

    @property
    def tags(self) -> dict[str, int]:
        """The version that each tag names, by the tag."""
        return {
            name: each.version
            for name, each in sorted(self.last.items())
            if each.version is not None and each.kind == "tag"
        }

    def version_of(self, name: str) -> int | StoreRefusal:
        """Return the version that an alias or a tag names."""
        found = self.last.get(name)
        if found is None or found.version is None:
            return StoreRefusal(
                f"model {self.model!r} has no alias or tag {name!r}; aliases: "
                f"{listed(self.aliases) or 'none'}; tags: {listed(self.tags) or 'none'}",
                kind="unknown",
            )
        return found.version

    def kept(self) -> dict[int, RetentionReason]:
        """Return the versions whose weights are kept for their names, with the reason."""
        kept: dict[int, RetentionReason] = {}
        for each in self.last.values():
            if each.version is not None and each.kind != "tag":
                kept |= dict.fromkeys((each.version, *each.earlier[:KEPT_ROLL_BACKS]), "alias")
        return kept | dict.fromkeys(self.tags.values(), "tagged")


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """The node that asks for a change, and the time of the change."""

    by: str
    at: Timestamp


def tag_change(names: ModelNames, request: TagVersion, naming: Naming) -> NameChange | StoreRefusal:
    """Return the change that a tag makes; a change of `names` if it is made already.

    The version must exist, and be one that `deleted_weights_fault` does not refuse.
    """
    tag, version, last = request.tag, request.version, names.last.get(request.tag)
    if fault := version_name_fault(tag):
        return StoreRefusal(fault, kind="invalid")
    if tag in names.aliases:
        return StoreRefusal(
            f"{tag!r} is an alias of model {names.model!r}; move it with `fedbus models promote`"
        )
    if last is not None and last.version == version:
        return last
    if version is None and last is None:
        return StoreRefusal(
            f"model {names.model!r} has no tag {tag!r}; tags: {listed(names.tags) or 'none'}",
            kind="unknown",
        )
    if version is not None and tag not in names.tags and len(names.tags) >= MAX_TAGS:
        return StoreRefusal(f"model {names.model!r} has {MAX_TAGS} tags; remove one before")
    return NameChange(
        model=names.model,
        number=names.changes + 1,
        name=tag,
        kind="untag" if version is None else "tag",
        version=version,
        replaced=names.tags.get(tag),
        by=naming.by,
        note=request.note,
        at=naming.at,
    )


def promotion(
    names: ModelNames, request: PromoteVersion, naming: Naming
) -> NameChange | StoreRefusal:
    """Return the change that a promotion makes, or the removal of an alias; or the one that did.

    The version must be one that `promotion_fault` does not refuse.
    """
    alias, version = request.alias, request.version
    if refused := _alias_refusal(names, request):
        return refused
    now, last = names.aliases.get(alias), names.last.get(alias)
    if last is not None and now == version:
        return last
    return NameChange(
        model=names.model,
        number=names.changes + 1,
        name=alias,
        kind="removal" if version is None else "promotion",
        version=version,
        replaced=now,
        by=naming.by,
        note=request.note,
        earlier=_with_earlier(now, last),
        at=naming.at,
    )


def roll_back(
    names: ModelNames, request: RollBackAlias, naming: Naming, passed_over: Collection[int] = ()
) -> NameChange | StoreRefusal:
    """Return the change that a roll-back makes, or the one that did.

    The version that it returns to must be one that `promotion_fault` does not refuse; those that it
    does are `passed_over` if the request may remove the alias.
    """
    alias = request.alias
    now, last = names.aliases.get(alias), names.last.get(alias)
    is_moved = last is not None and now != request.expected
    if (
        last is not None
        and is_moved
        and (last.kind, last.replaced) == ("roll-back", request.expected)
    ):
        return last
    if last is None or now is None:
        return _unknown_alias(names, alias)
    if is_moved:
        return StoreRefusal(_moved(alias, now, request.expected))
    skipped = {*passed_over, now} if request.or_remove else ()
    earlier = tuple(dropwhile(lambda each: each in skipped, last.earlier))
    if not earlier and not request.or_remove:
        return StoreRefusal(
            f"alias {alias!r} of model {names.model!r} has named no version before {now}; promote "
            "another version, or remove the alias with `fedbus models remove-alias`"
        )
    return NameChange(
        model=names.model,
        number=names.changes + 1,
        name=alias,
        kind="roll-back",
        version=earlier[0] if earlier else None,
        replaced=now,
        by=naming.by,
        note=request.note,
        earlier=earlier[1:],
        at=naming.at,
    )


def promotion_fault(version: Version, kept: Iterable[Version], *, intact: bool) -> str | None:
    """Return why an alias cannot name a version; None: it can.

    Args:
        version: The version.
        kept: The versions of its model that have weights; read only if it has none.
        intact: Its weights are in the store and have their digest.
    """
    what = f"version {version.version} of model {version.model!r}"
    if version.encryption is not None:
        return (
            f"{what} is encrypted, and inference cannot read it; `fedbus models release "
            f"{version.model}@{version.version} --key FILE` makes a version that everyone can read"
        )
    if fault := deleted_weights_fault(version, kept):
        return fault
    if not intact:
        return (
            f"the weights of {what} are damaged or missing in the store; push them again with "
            "`fedbus models push`, or restore the store from its backup"
        )
    return None


def deleted_weights_fault(version: Version, kept: Iterable[Version]) -> str | None:
    """Return why neither a tag nor an alias can name a version without weights; None: it has some.

    `kept` has the versions of its model that have weights; it is read only if this one has none.
    """
    if version.kept:
        return None
    newest = sorted((each.version for each in kept), reverse=True)
    what = f"version {version.version} of model {version.model!r}"
    return (
        f"the weights of {what} are deleted; versions with weights:"
        f" {in_given_order(map(str, newest))}"
    )


def _alias_refusal(names: ModelNames, request: PromoteVersion) -> StoreRefusal | None:
    alias, version, expected = request.alias, request.version, request.expected
    if fault := version_name_fault(alias):
        return StoreRefusal(fault, kind="invalid")
    if alias in names.tags:
        return StoreRefusal(
            f"{alias!r} is a tag of model {names.model!r}; remove it with `fedbus models untag`, or"
            " choose another alias"
        )
    now, last = names.aliases.get(alias), names.last.get(alias)
    repeated = last is not None and now == version and (last.replaced or 0) == expected
    if expected is not None and expected != (now or 0) and not repeated:
        return StoreRefusal(_moved(alias, now, expected))
    if version is None and last is None:
        return _unknown_alias(names, alias)
    if version is not None and now is None and len(names.aliases) >= MAX_ALIASES:
        return StoreRefusal(f"model {names.model!r} has {MAX_ALIASES} aliases; remove one before")
    return None


def _with_earlier(now: int | None, last: NameChange | None) -> tuple[int, ...]:
    earlier = () if last is None or last.kind in {"tag", "untag"} else last.earlier
    return (earlier if now is None else (now, *earlier))[:MAX_ROLL_BACKS]


def _moved(alias: str, now: int | None, expected: int) -> str:
    found = "no version" if now is None else f"version {now}"
    wanted = f"version {expected}" if expected else "none"
    return f"alias {alias!r} names {found} now, not {wanted}; it was moved meanwhile, ask again"


def _unknown_alias(names: ModelNames, alias: str) -> StoreRefusal:
    return StoreRefusal(
        f"model {names.model!r} has no alias {alias!r}; aliases: {listed(names.aliases) or 'none'};"
        f" `fedbus models promote {names.model}@VERSION --to {alias}` makes it",
        kind="unknown",
    )
