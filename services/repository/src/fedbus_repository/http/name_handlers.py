"""Handlers for names of versions and their lineage: tags, aliases, promotions, roll-backs.

The store decides, as for a request on the bus; the core announces what has changed. The author of a
change is the token of its request, as `http.TOKEN`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeVar, get_args

from aiohttp import web

from fedbus.http_api.access import TokenFileAccess
from fedbus.http_api.json_documents import read_document
from fedbus.http_api.request_bodies import read_body
from fedbus.http_api.request_parameters import (
    read_name,
    read_query_choice,
    read_query_name,
    read_query_number,
)
from fedbus.http_api.responses import ApiError, json_response
from fedbus.runtime.shell import Shell
from fedbus.wire.identifiers import HTTP_AUTHOR
from fedbus.wire.messages import (
    ListNameChanges,
    ListRelatives,
    PromoteVersion,
    RollBackAlias,
    TagVersion,
)
from fedbus.wire.messages.model_trail import Relation
from fedbus_repository.http.pages import read_page
from fedbus_repository.http.refusals import accepted
from fedbus_repository.http.schemas import (
    ChangePage,
    NamesReport,
    Promotion,
    RelativesReport,
    RollBack,
    Tagging,
)
from fedbus_repository.http.version_reports import version_report
from fedbus_repository.keys import NamedOverHttp
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.records import StoreRefusal
from fedbus_repository.stores.trail_answers import NamedVersions

T = TypeVar("T")
MAX_CHANGE_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class NameHandlers:
    """The handlers of tags, aliases and lineage."""

    store: Store
    access: TokenFileAccess
    shell: Shell

    async def show(self, request: web.Request) -> web.Response:
        """Return the tags and aliases of a model."""
        model = read_name(request, "model")
        view = accepted(await asyncio.to_thread(self.store.show, model, None, 0))
        return json_response(NamesReport(model_name=model, aliases=view.aliases, tags=view.tags))

    async def changes(self, request: web.Request) -> web.Response:
        """Return a page of the changes of a model's names, newest first."""
        question = ListNameChanges(
            model=read_name(request, "model"),
            name=read_query_name(request, "name"),
            limit=read_page(request).limit,
            before=read_query_number(request, "before"),
        )
        found = accepted(await asyncio.to_thread(self.store.name_changes, question))
        return json_response(ChangePage(changes=found.changes, more=found.more))

    async def lineage(self, request: web.Request) -> web.Response:
        """Return a page of the ancestors, descendants or leaves of a version."""
        question = ListRelatives(
            model=read_name(request, "model"),
            version=read_query_number(request, "version"),
            relation=read_query_choice(request, "relation", get_args(Relation)),
            limit=read_page(request).limit,
            after=read_query_number(request, "after"),
        )
        return json_response(await asyncio.to_thread(self._relatives, question))

    def _relatives(self, question: ListRelatives) -> RelativesReport:
        found = accepted(self.store.relatives(question))
        return RelativesReport(
            model_name=question.model,
            model_version=None if found.version is None else str(found.version),
            relation=question.relation,
            versions=tuple(version_report(self.store, each) for each in found.versions),
            more=found.more,
        )

    async def tag(self, request: web.Request) -> web.Response:
        """Make a tag name a version."""
        model, tag, by = self._target(request, "tag")
        read = await _read(Tagging, request)
        change = TagVersion(model=model, tag=tag, version=read.version, note=read.note)
        return await self._changed(self.store.tag, change, by)

    async def untag(self, request: web.Request) -> web.Response:
        """Remove a tag."""
        model, tag, by = self._target(request, "tag")
        change = TagVersion(model=model, tag=tag, version=None)
        return await self._changed(self.store.tag, change, by)

    async def promote(self, request: web.Request) -> web.Response:
        """Make an alias name a version."""
        model, alias, by = self._target(request, "alias")
        read = await _read(Promotion, request)
        change = PromoteVersion(
            model=model,
            alias=alias,
            version=read.version,
            expected=read.expected,
            note=read.note,
        )
        return await self._changed(self.store.promote, change, by)

    async def remove_alias(self, request: web.Request) -> web.Response:
        """Remove an alias."""
        model, alias, by = self._target(request, "alias")
        expected = read_query_number(request, "expected")
        change = PromoteVersion(model=model, alias=alias, version=None, expected=expected)
        return await self._changed(self.store.promote, change, by)

    async def roll_back(self, request: web.Request) -> web.Response:
        """Make an alias name the version before."""
        model, alias, by = self._target(request, "alias")
        read = await _read(RollBack, request)
        change = RollBackAlias(model=model, alias=alias, expected=read.expected, note=read.note)
        return await self._changed(self.store.roll_back, change, by)

    def _target(self, request: web.Request, what: Literal["tag", "alias"]) -> tuple[str, str, str]:
        """Return the model and the name that a request changes, and who asks for the change.

        Called before any wait, while the token is the one that was checked.
        """
        if not (name := self.access.name_of(request)):
            raise ApiError(401, "this token is no longer valid", WWW_Authenticate="Bearer")
        return read_name(request, "model"), read_name(request, what), HTTP_AUTHOR + name

    async def _changed(
        self, change: Callable[[T, str], NamedVersions | StoreRefusal], message: T, by: str
    ) -> web.Response:
        """Make a change in the store, announce it, and return the model's names after it."""
        found = accepted(await asyncio.to_thread(change, message, by))
        self.shell.receive_local(NamedOverHttp(found))
        names = found.names
        return json_response(
            NamesReport(model_name=names.model, aliases=names.aliases, tags=names.tags)
        )


async def _read(kind: type[T], request: web.Request) -> T:
    return read_document(kind, await read_body(request, MAX_CHANGE_BYTES))
