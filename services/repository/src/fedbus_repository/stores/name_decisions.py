# ruff: noqa: D102 - the methods are documented in Store
"""Decisions about the tags, the aliases and the lineage of a model's versions.

A version is read whole before an alias names it, to see that it is intact. That takes seconds for a
large one, so it is done between two blocks: the second one decides again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from fedbus.wire.messages import (
    ListNameChanges,
    ListRelatives,
    PromoteVersion,
    RollBackAlias,
    TagVersion,
)
from fedbus.wire.messages.model_trail import NameChange
from fedbus_repository.stores import rules
from fedbus_repository.stores.damaged_records import DamagedModel, DamagedRecordError
from fedbus_repository.stores.job_decisions import JobDecisions
from fedbus_repository.stores.ledger_decisions import unknown_model
from fedbus_repository.stores.lineage import Lineage
from fedbus_repository.stores.record_database import Records
from fedbus_repository.stores.records import StoreRefusal, Version
from fedbus_repository.stores.trail_answers import NameChangePage, NamedVersions, RelativePage
from fedbus_repository.stores.version_names import (
    ModelNames,
    Naming,
    deleted_weights_fault,
    promotion,
    promotion_fault,
    roll_back,
    tag_change,
)

Decide: TypeAlias = Callable[[ModelNames], NameChange | StoreRefusal]


@dataclass(frozen=True, slots=True)
class _Decision:
    """A change of a name: stored already, or to be stored; and the version that it names."""

    names: ModelNames
    change: NameChange
    target: Version | None

    @property
    def is_stored(self) -> bool:
        return self.names.last.get(self.change.name) is self.change


class NameDecisions(JobDecisions):
    """The part of a `Store` that concerns tags, aliases and lineage."""

    def tag(self, request: TagVersion, by: str) -> NamedVersions | StoreRefusal:
        naming = Naming(by=by, at=self._now())
        with self._database.writing(f"tagging a version of model {request.model}") as records:
            found = _decided(
                records, request.model, lambda names: tag_change(names, request, naming)
            )
            if isinstance(found, StoreRefusal):
                return found
            if found.target is not None and not found.is_stored:
                kept = () if found.target.kept else records.with_weights(request.model)
                if fault := deleted_weights_fault(found.target, kept):
                    return StoreRefusal(fault)
            return _store(records, found)

    def promote(self, request: PromoteVersion, by: str) -> NamedVersions | StoreRefusal:
        naming = Naming(by=by, at=self._now())
        return self._move(request.model, lambda names: promotion(names, request, naming))

    def roll_back(self, request: RollBackAlias, by: str) -> NamedVersions | StoreRefusal:
        naming, passed_over = Naming(by=by, at=self._now()), set[int]()
        return self._move(
            request.model,
            lambda names: roll_back(names, request, naming, passed_over),
            passed_over if request.or_remove else None,
        )

    def named_versions(self) -> Mapping[str, NamedVersions | DamagedModel]:
        with self._database.reading("listing tags and aliases") as records:
            models = records.named_models()
        return {model: self._names_or_damage(model) for model in models}

    def name_changes(self, request: ListNameChanges) -> NameChangePage | StoreRefusal:
        with self._database.reading(f"listing changes of model {request.model}") as records:
            if records.latest(request.model) is None:
                return unknown_model(records, request.model)
            found = records.name_changes(
                request.model, request.name, request.limit + 1, request.before
            )
            if request.name is not None and request.before is None and not found:
                known = names_of(records, request.model).version_of(request.name)
                if isinstance(known, StoreRefusal):
                    return known
            return NameChangePage(found[: request.limit], len(found) > request.limit)

    def relatives(self, request: ListRelatives) -> RelativePage | StoreRefusal:
        model = request.model
        with self._database.reading(f"reading the lineage of model {model}") as records:
            latest = records.latest(model)
            if latest is None:
                return unknown_model(records, model)
            if request.version is not None and not 1 <= request.version <= latest.version:
                return StoreRefusal(rules.unknown_version(latest, request.version), kind="unknown")
            lineage = Lineage(records.branches(model), latest.version)
            version = request.version
            if version is None and request.relation != "leaves":
                version = latest.version
            numbers = _relatives(lineage, request, version)
            page = numbers[: request.limit]
            found = {each.version: each for each in records.versions(model, page)}
            more = len(numbers) > request.limit
            return RelativePage(version, tuple(found[number] for number in page), more)

    def _names_or_damage(self, model: str) -> NamedVersions | DamagedModel:
        try:
            with self._database.reading(f"reading the names of model {model}") as records:
                return _named(records, names_of(records, model))
        except DamagedRecordError as error:
            return DamagedModel(str(error))

    def _move(
        self, model: str, decide: Decide, passed_over: set[int] | None = None
    ) -> NamedVersions | StoreRefusal:
        """Make an alias name a version, once that version is known to be intact.

        A version that no alias can name is added to `passed_over`, and `decide` is asked again;
        None: the change is refused.
        """
        intact: dict[int, bool] = {}
        while True:
            with self._database.writing(f"moving an alias of model {model}") as records:
                found = _decided(records, model, decide)
                if isinstance(found, StoreRefusal):
                    return found
                target = found.target
                if target is None or found.is_stored:
                    return _store(records, found)
                kept = () if target.kept else records.with_weights(model)
                if fault := promotion_fault(target, kept, intact=intact.get(target.version, True)):
                    if passed_over is None:
                        return StoreRefusal(fault)
                    passed_over.add(target.version)
                    continue
                if target.version in intact:
                    return _store(records, found)
            blobs = (target.spec, target.weights)
            intact[target.version] = all(self._blobs.holds(blob) for blob in blobs)


def names_of(records: Records, model: str) -> ModelNames:
    """Read the tags and aliases of a model."""
    return ModelNames.of(model, records.last_name_changes(model))


def _decided(records: Records, model: str, decide: Decide) -> _Decision | StoreRefusal:
    latest = records.latest(model)
    if latest is None:
        return unknown_model(records, model)
    names = names_of(records, model)
    change = decide(names)
    if isinstance(change, StoreRefusal):
        return change
    if change.version is None:
        return _Decision(names, change, None)
    target = records.version(model, change.version)
    if target is None:
        return StoreRefusal(rules.unknown_version(latest, change.version), kind="unknown")
    return _Decision(names, change, target)


def _store(records: Records, found: _Decision) -> NamedVersions:
    if found.is_stored:
        return _named(records, found.names)
    records.append_name_change(found.change)
    return _named(records, names_of(records, found.names.model))


def _named(records: Records, names: ModelNames) -> NamedVersions:
    numbers = sorted(set(names.aliases.values()))
    found = {each.version: each for each in records.versions(names.model, numbers)}
    return NamedVersions(names, {alias: found[number] for alias, number in names.aliases.items()})


def _relatives(lineage: Lineage, request: ListRelatives, version: int | None) -> list[int]:
    """Return the numbers of a page, and of one version more if there is one."""
    limit, after = request.limit + 1, request.after
    if version is None or request.relation == "leaves":
        return lineage.leaves(version, limit, after)
    if request.relation == "ancestors":
        return lineage.ancestors(version, limit, after)
    return lineage.descendants(version, limit, after)
