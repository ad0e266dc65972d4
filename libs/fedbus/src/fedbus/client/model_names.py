"""Tags, aliases and lineage of the versions of a model: changed and read by requests.

A name is resolved to a number before anything is changed, and a roll-back names the version that it
takes back: so a request that is repeated because its answer was lost changes nothing.
"""

from collections.abc import Callable
from typing import TypeVar

from fedbus.client.connection import ClientConnection
from fedbus.client.failures import Refused
from fedbus.client.repository import RepositoryQuery
from fedbus.client.stored_models import repository_node, run_request, version_shown
from fedbus.text import listed
from fedbus.wire.messages import (
    AliasMoved,
    ListNameChanges,
    ListRelatives,
    NameChangesListed,
    PromoteVersion,
    RelativesListed,
    RollBackAlias,
    TagVersion,
    VersionFacts,
    VersionTagged,
)
from fedbus.wire.messages.model_trail import MAX_PAGE_VERSIONS, NameChange, Relation
from fedbus.wire.version_choice import VersionChoice

A = TypeVar("A")

PAGE_VERSIONS = 100
"""Versions, or changes of names, that are fetched by default."""


async def tag(
    connection: ClientConnection, choice: VersionChoice, name: str, note: str
) -> VersionTagged:
    """Add a tag to a version, or move it there.

    Raises:
        Refused: there is no such version, or no version can have a tag of this name.
        Unreachable: the repository does not answer.
    """
    version = (await version_shown(connection, choice)).version.version
    return await _change_tag(
        connection, TagVersion(model=choice.model, version=version, tag=name, note=note)
    )


async def untag(connection: ClientConnection, model: str, name: str, note: str) -> VersionTagged:
    """Remove a tag of a model.

    Raises:
        Refused: there is no such model or tag.
        Unreachable: the repository does not answer.
    """
    return await _change_tag(connection, TagVersion(model=model, version=None, tag=name, note=note))


async def promote(
    connection: ClientConnection,
    choice: VersionChoice,
    alias: str,
    expected: int | None,
    note: str,
) -> AliasMoved:
    """Make an alias name a version; only if it names `expected` now, 0: none.

    Raises:
        Refused: there is no such version, it cannot be served, or the alias names another one.
        Unreachable: the repository does not answer.
    """
    version = (await version_shown(connection, choice)).version.version
    request = PromoteVersion(
        model=choice.model, alias=alias, version=version, expected=expected, note=note
    )
    return await _move_alias(connection, request)


async def roll_back(
    connection: ClientConnection, model: str, alias: str, expected: int | None, note: str
) -> AliasMoved:
    """Make an alias name the version before `expected`, by default before the one that it names.

    Raises:
        Refused: there is no such alias, no version before, or it cannot be served any more.
        Unreachable: the repository does not answer.
    """
    taken = await _named_by(connection, model, alias) if expected is None else expected
    request = RollBackAlias(model=model, alias=alias, expected=taken, note=note)
    return await _move_alias(connection, request)


async def remove_alias(
    connection: ClientConnection, model: str, alias: str, note: str
) -> AliasMoved:
    """Remove an alias; its history stays.

    Raises:
        Refused: there is no such model or alias.
        Unreachable: the repository does not answer.
    """
    taken = await _named_by(connection, model, alias)
    request = PromoteVersion(model=model, alias=alias, version=None, expected=taken, note=note)
    return await _move_alias(connection, request)


async def name_changes(
    connection: ClientConnection, model: str, name: str | None, limit: int | None
) -> tuple[NameChange, ...]:
    """Fetch the last changes of a model's names, newest first; None is all of them.

    Raises:
        Refused: there is no such model, or no such name.
        Unreachable: the repository does not answer.
    """
    changes: list[NameChange] = []
    more = True
    while more and (limit is None or len(changes) < limit):
        question = ListNameChanges(
            model=model,
            name=name,
            limit=_page(limit, len(changes)),
            before=changes[-1].number if changes else None,
        )
        page = await _ask(connection, question, NameChangesListed, ("model", "name", "before"))
        changes += page.changes
        more = page.more
    return tuple(changes)


async def relatives(
    connection: ClientConnection, choice: VersionChoice, relation: Relation, limit: int | None
) -> tuple[VersionFacts, ...]:
    """Fetch the ancestors, descendants or leaves of a version; None is all of them.

    Raises:
        Refused: there is no such model or version.
        Unreachable: the repository does not answer.
    """
    version = choice.version
    if version is None and (choice.name is not None or relation != "leaves"):
        version = (await version_shown(connection, choice)).version.version
    found: list[VersionFacts] = []
    more = True
    while more and (limit is None or len(found) < limit):
        question = ListRelatives(
            model=choice.model,
            version=version,
            relation=relation,
            limit=_page(limit, len(found)),
            after=found[-1].version if found else None,
        )
        page = await _ask(
            connection, question, RelativesListed, ("model", "version", "relation", "after")
        )
        found += page.versions
        more = page.more
    return tuple(found)


def _page(limit: int | None, fetched: int) -> int:
    return MAX_PAGE_VERSIONS if limit is None else min(MAX_PAGE_VERSIONS, limit - fetched)


async def _named_by(connection: ClientConnection, model: str, alias: str) -> int:
    """Return the version that an alias names, as the repository says."""
    shown = await version_shown(connection, VersionChoice(model=model))
    if alias not in shown.aliases:
        raise Refused(
            f"model {model!r} has no alias {alias!r}; aliases: {listed(shown.aliases) or 'none'}"
        )
    return shown.aliases[alias]


async def _change_tag(connection: ClientConnection, request: TagVersion) -> VersionTagged:
    return await _ask(connection, request, VersionTagged, ("model", "tag", "version"))


async def _move_alias(
    connection: ClientConnection, request: PromoteVersion | RollBackAlias
) -> AliasMoved:
    def is_there(found: AliasMoved) -> bool:
        number = None if found.version is None else found.version.version
        return isinstance(request, RollBackAlias) or number == request.version

    return await _ask(connection, request, AliasMoved, ("model", "alias"), is_there)


async def _ask(
    connection: ClientConnection,
    question: object,
    answer: type[A],
    same: tuple[str, ...],
    is_answer: Callable[[A], bool] = lambda _: True,
) -> A:
    """Ask the repository; the answer has the fields `same` as the question has them."""

    def fits(found: A) -> bool:
        equal = all(getattr(found, field) == getattr(question, field) for field in same)
        return equal and is_answer(found)

    query = RepositoryQuery(repository_node(), question, answer, fits)
    return await run_request(connection, query)
