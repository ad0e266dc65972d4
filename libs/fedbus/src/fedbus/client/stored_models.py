"""Models and versions that the repository stores: requests that list and describe them."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from fedbus.blobs.spool import Spools
from fedbus.client.connection import ClientConnection
from fedbus.client.kept_versions import named_version
from fedbus.client.repository import Pull, RepositoryQuery, RepositoryRequest
from fedbus.client.results import ModelHistory, StoredModel
from fedbus.client.session_node import R, run
from fedbus.errors import WireError
from fedbus.mqtt.bus import Packet
from fedbus.wire import codec
from fedbus.wire.documents import ModelAliases, ModelLatest, ModelSpec
from fedbus.wire.messages import (
    ListModels,
    ModelShown,
    ModelsListed,
    PrivacyShown,
    ShowModel,
    ShowPrivacy,
)
from fedbus.wire.topics import MODEL_ALIASES, MODEL_LATEST
from fedbus.wire.version_choice import VersionChoice

IN_MEMORY_BYTES = 256 * 2**20
"""Of blobs that are being pulled; larger ones are in unnamed files until they are read."""
VERSIONS = 200
"""Versions that the repository describes in one answer."""

D = TypeVar("D")

Progress = Callable[[int], None]
"""Called with the number of bytes that were just sent or received."""


def repository_node() -> str:
    """Return the node name of the repository; a root has one."""
    return os.environ.get("FEDBUS_REPOSITORY", "repository.1")


async def models(connection: ClientConnection) -> tuple[StoredModel, ...]:
    """Fetch the latest version of every model, the oldest first, and what its job has spent.

    The repository lists versions; what was spent, and what tags and aliases name, is in the
    documents that the broker retains.
    """
    listed = await run_request(
        connection, RepositoryQuery(repository_node(), ListModels(), ModelsListed)
    )
    packets = await connection.retained(connection.login.topic(MODEL_LATEST, model="+"))
    names = await connection.retained(connection.login.topic(MODEL_ALIASES, model="+"))
    stored = stored_models(listed, packets, names)
    return tuple(sorted(stored, key=lambda each: each.created or ""))


async def latest(connection: ClientConnection, model: str) -> ModelLatest | None:
    """Read what is retained of a model's newest version; None if there is none, or unreadable."""
    for packet in await connection.retained(connection.login.topic(MODEL_LATEST, model=model)):
        with suppress(WireError):  # of another version of fedbus, perhaps
            return codec.from_json(ModelLatest, packet.payload)
    return None


def stored_models(
    listed: ModelsListed, packets: Iterable[Packet], names: Iterable[Packet] = ()
) -> Iterator[StoredModel]:
    """Yield each listed model with what its retained documents say of privacy and of names.

    A document that cannot be read, of another version of fedbus perhaps, is that model's trouble.
    """
    unreadable: dict[str, str] = {}
    latest_of = _read_documents(
        ModelLatest,
        packets,
        unreadable,
        "its ε is not known here (`fedbus privacy show` asks the repository)",
    )
    names_of = _read_documents(
        ModelAliases,
        names,
        unreadable,
        "its tags and aliases are not known here (`fedbus models show` asks the repository)",
    )
    for ref in listed.models:
        found, named = latest_of.get(ref.model), names_of.get(ref.model)
        yield StoredModel(
            ref,
            listed.made.get(ref.model),
            found.privacy if found is not None and found.version == ref.version else None,
            unreadable.get(ref.model, ""),
            {} if named is None else {name: each.version for name, each in named.aliases.items()},
            {} if named is None else named.tags,
        )


def _read_documents(
    kind: type[D], packets: Iterable[Packet], unreadable: dict[str, str], unknown: str
) -> dict[str, D]:
    """Read retained documents, by their model; `unreadable` gets a sentence for each other one."""
    found: dict[str, D] = {}
    for packet in packets:
        model = packet.topic.split("/")[-2]
        try:
            found[model] = codec.from_json(kind, packet.payload)
        except WireError as error:
            unreadable[model] = (
                f"what the broker retains at {packet.topic} cannot be read, so {unknown}: {error}"
            )
    return found


async def privacy(connection: ClientConnection, model: str) -> PrivacyShown:
    """Fetch what the jobs that trained a model have spent.

    Raises:
        Refused: there is no such model.
        Unreachable: the repository does not answer.
    """

    def fits(answer: PrivacyShown) -> bool:
        return answer.model == model

    question = ShowPrivacy(model=model)
    return await run_request(
        connection, RepositoryQuery(repository_node(), question, PrivacyShown, fits)
    )


async def show(
    connection: ClientConnection,
    choice: VersionChoice,
    limit: int | None = VERSIONS,
    *,
    record: bool = False,
) -> ModelShown:
    """Fetch the facts of a version and of the `limit` versions up to it; None is all of them.

    With `record` also the record of the round that made the version.

    Raises:
        Refused: there is no such model, or no such version.
        Unreachable: the repository does not answer.
    """
    version = choice.version
    if choice.name is not None:
        version = (await version_shown(connection, choice)).version.version
    before = None if version is None else version + 1
    question = ShowModel(model=choice.model, version=version, before=before, record=record)
    shown = await _show(connection, question)
    trail = list(shown.history)
    first = trail[-1].version if trail else shown.version.version + 1
    while first > 1 and (limit is None or len(trail) < limit):
        question = replace(question, before=first, record=False)
        older = (await _show(connection, question)).history
        if not older:
            break
        trail += older
        first = trail[-1].version
    return replace(shown, history=tuple(trail if limit is None else trail[:limit]))


async def version_shown(connection: ClientConnection, choice: VersionChoice) -> ModelShown:
    """Fetch which version a choice means, and the names of the model; without its history.

    Raises:
        Refused: there is no such model, or no such version.
        Unreachable: the repository does not answer.
    """
    return await _show(
        connection,
        ShowModel(model=choice.model, version=choice.version, name=choice.name, before=1),
    )


async def history(
    connection: ClientConnection, choice: VersionChoice, limit: int | None = VERSIONS
) -> ModelHistory:
    """Fetch the facts of a version, of its round and of those before it, and its spec.

    Raises:
        Refused: there is no such model, or no such version.
        Unreachable: the repository does not answer.
    """
    shown = await show(connection, choice, limit, record=True)
    ref = shown.version
    got = await run_request(connection, Pull(ref.source, (ref.spec,), Spools(IN_MEMORY_BYTES)))
    blob = got[ref.spec.digest]
    return ModelHistory(shown, codec.from_json(ModelSpec, bytes(blob.read(0, blob.size))))


async def _show(connection: ClientConnection, question: ShowModel) -> ModelShown:
    def fits(answer: ModelShown) -> bool:
        begins = answer.history[0].version if answer.history else 0
        return (
            answer.version.model == question.model
            and question.version in {None, answer.version.version}
            and (
                question.name is None
                or answer.version.version == named_version(answer, question.name)
            )
            and (question.before is None or begins < question.before)
        )

    return await run_request(
        connection, RepositoryQuery(repository_node(), question, ModelShown, fits)
    )


async def run_request(connection: ClientConnection, request: RepositoryRequest[R]) -> R:
    """Run a request to its end, for as long as this client is patient."""
    request.patience_seconds = connection.answer_seconds
    return await run(connection, request)
