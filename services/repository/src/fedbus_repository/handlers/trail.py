"""Requests about the names of versions, their history, and the lineage of a model. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

from fedbus.core.actions import Action, Note, Send
from fedbus.errors import StoreError
from fedbus.wire import codec
from fedbus.wire.messages import (
    AliasMoved,
    ListNameChanges,
    ListRelatives,
    NameChangesListed,
    PromoteVersion,
    RelativesListed,
    RollBackAlias,
    TagVersion,
    VersionTagged,
)
from fedbus.wire.refusals import refusal_of_request
from fedbus_repository.handlers.catalog import MAX_SHOWN_BYTES, ModelCatalog, version_facts
from fedbus_repository.keys import RequestRun
from fedbus_repository.requests import Call, RequestRunner, RequestSteps
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.records import StoreRefusal
from fedbus_repository.stores.trail_answers import NameChangePage, NamedVersions, RelativePage

TrailRequest: TypeAlias = (
    TagVersion | PromoteVersion | RollBackAlias | ListNameChanges | ListRelatives
)


class TrailHandler:
    """Handles requests about tags, aliases and lineage."""

    def __init__(self, store: Store, requests: RequestRunner, catalog: ModelCatalog) -> None:
        self._store, self._requests, self._catalog = store, requests, catalog

    def handle(self, sender: str, message: TrailRequest) -> Iterator[Action]:
        """Start a request and answer it from the store."""
        subject, call = self._store_call(sender, message)
        key = RequestRun.of(message, sender, message.model, *subject)
        yield from self._requests.start(key, message, self._answer(sender, message, call))

    def _store_call(
        self, sender: str, message: TrailRequest
    ) -> tuple[tuple[str | int | None, ...], Callable[[], Any]]:
        store = self._store
        match message:
            case TagVersion(tag=tag, version=version):
                return (tag, version), partial(store.tag, message, sender)
            case PromoteVersion(alias=alias, version=version, expected=expected):
                return (alias, version, expected), partial(store.promote, message, sender)
            case RollBackAlias(alias=alias, expected=expected):
                return (alias, expected), partial(store.roll_back, message, sender)
            case ListNameChanges(name=name, before=before):
                return (name, before), partial(store.name_changes, message)
        about = (message.version, message.relation, message.after)
        return about, partial(store.relatives, message)

    def _answer(self, sender: str, message: TrailRequest, call: Callable[[], Any]) -> RequestSteps:
        try:
            found = yield Call(call)
        except StoreError as error:
            found = StoreRefusal(str(error), kind=error.fault)
        if isinstance(found, StoreRefusal):
            facts = {"model": message.model, "of": sender, "reason": found.reason}
            refused = refusal_of_request(message, message.model, found.reason, found.kind)
            return Note("request_refused", facts), Send(sender, refused)
        if isinstance(found, NamedVersions):
            return Send(sender, self._named(message, found)), *self._catalog.named(found)
        return (Send(sender, _page_of(message, found)),)

    def _named(self, message: TrailRequest, found: NamedVersions) -> VersionTagged | AliasMoved:
        names = found.names
        if isinstance(message, TagVersion):
            return VersionTagged(
                model=names.model,
                tag=message.tag,
                version=names.tags.get(message.tag),
                tags=names.tags,
            )
        assert isinstance(message, PromoteVersion | RollBackAlias)  # noqa: S101 - the others have pages
        version, earlier = found.aliased.get(message.alias), names.last[message.alias].earlier
        return AliasMoved(
            model=names.model,
            alias=message.alias,
            version=None if version is None else self._catalog.ref(version),
            before=earlier[0] if earlier else None,
        )


def _page_of(
    message: TrailRequest, found: NameChangePage | RelativePage
) -> NameChangesListed | RelativesListed:
    if isinstance(message, ListNameChanges) and isinstance(found, NameChangePage):
        changes = NameChangesListed(
            model=message.model,
            name=message.name,
            before=message.before,
            changes=found.changes,
            more=found.more,
        )
        while len(changes.changes) > 1 and len(codec.pack(changes)) > MAX_SHOWN_BYTES:
            half = changes.changes[: len(changes.changes) // 2]
            changes = replace(changes, changes=half, more=True)
        return changes
    assert isinstance(message, ListRelatives)  # noqa: S101 - the only other request with pages
    assert isinstance(found, RelativePage)  # noqa: S101 - as above
    listed = RelativesListed(
        model=message.model,
        version=found.version,
        relation=message.relation,
        after=message.after,
        versions=tuple(version_facts(each) for each in found.versions),
        more=found.more,
    )
    while len(listed.versions) > 1 and len(codec.pack(listed)) > MAX_SHOWN_BYTES:
        half_page = listed.versions[: len(listed.versions) // 2]
        listed = replace(listed, versions=half_page, more=True)
    return listed
