"""Models of a deployment: list, describe, push, pull."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from fedbus.blobs.spool import Spools
from fedbus.client.connection import ClientConnection
from fedbus.client.derived_models import DerivedModel
from fedbus.client.failures import Failed, Refused
from fedbus.client.kept_versions import named_version
from fedbus.client.model_outputs import class_names, same_outputs
from fedbus.client.packing import PackedModel
from fedbus.client.repository import Pull, Push, RepositoryQuery, RepositoryRequest
from fedbus.client.results import ModelHistory, PulledModel, PushedModel, StoredModel
from fedbus.client.session_node import R, run
from fedbus.encryption.encrypted_blob import read_encrypted_header
from fedbus.encryption.key_files import SecretKey
from fedbus.encryption.readable_weights import readable_weights
from fedbus.errors import EncryptionError, LayoutError, WireError
from fedbus.model.blob import decode
from fedbus.model.layout import Layout
from fedbus.mqtt.bus import Packet
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef, ModelRef
from fedbus.wire.documents import ModelAliases, ModelLatest, ModelSpec
from fedbus.wire.messages import (
    ListModels,
    ModelPushed,
    ModelShown,
    ModelsListed,
    PrivacyShown,
    PushModel,
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


async def fetch(
    connection: ClientConnection,
    ref: ModelRef,
    progress: Progress = lambda _: None,
    key: SecretKey | None = None,
) -> PulledModel:
    """Fetch the weights and the spec of a version; an encrypted one is decrypted with `key`.

    Raises:
        Refused: the version is encrypted, and the key is missing or another one.
        Failed: the repository does not hold them any more, or they are damaged.
        Unreachable: the repository does not answer, or stopped in the middle.
    """
    check_readable(ref, key)
    request = Pull(ref.source, blobs_of(ref), Spools(IN_MEMORY_BYTES))
    request.moved = progress
    got = await run_request(connection, request)
    described, weights = got[ref.spec.digest], got[ref.weights.digest]
    try:
        spec = codec.from_json(ModelSpec, bytes(described.read(0, described.size)))
        layout = Layout.read(spec.layout, may_be_empty=True)
        blob, updates = memoryview(weights.read(0, weights.size)), 0
        if key is not None and ref.encryption is not None:
            anchor = got[ref.encryption.anchor_weights.digest]
            start = anchor.read(0, anchor.size)
            updates = read_encrypted_header(blob, len(blob), layout)[0].count
            blob = memoryview(readable_weights(blob, start, ref.encryption, layout, key))
        file = None if spec.layout else await _file_of(connection, ref, spec, progress)
        return PulledModel(ref, spec, decode(blob, layout, "plain"), updates, file=file)
    except (EncryptionError, LayoutError, WireError) as error:
        raise Failed(f"{ref.model} version {ref.version}: {error}") from error


async def _file_of(
    connection: ClientConnection, ref: ModelRef, spec: ModelSpec, progress: Progress
) -> bytes | None:
    """Fetch the file of a model that only runs; None if its spec names none."""
    named = [each["blob"] for each in spec.architectures.values() if "blob" in each]
    if not named:
        return None
    blob = BlobRef(digest=named[0]["digest"], size=named[0]["size"])
    request = Pull(ref.source, (blob,), Spools(IN_MEMORY_BYTES))
    request.moved = progress
    spool = (await run_request(connection, request))[blob.digest]
    return bytes(spool.read(0, spool.size))


def blobs_of(ref: ModelRef) -> tuple[BlobRef, ...]:
    """Return the blobs that a version is read from: an encrypted one needs its anchor."""
    anchor = () if ref.encryption is None else (ref.encryption.anchor_weights,)
    return (ref.spec, ref.weights, *anchor)


def check_readable(ref: ModelRef, key: SecretKey | None) -> None:
    """Refuse to fetch a version that cannot be read.

    Raises:
        Refused: it is encrypted, and the key is missing or another one.
    """
    if ref.encryption is None:
        return
    what = f"{ref.model} version {ref.version} is encrypted with the key {ref.encryption.key[:12]}"
    if key is None:
        raise Refused(
            f"{what}: with `--key FILE`, the secret key file of its agents, `fedbus models pull` "
            f"decrypts it; `fedbus models release {ref.model} --key FILE` makes a version that "
            "everyone can read"
        )
    if key.id != ref.encryption.key:
        raise Refused(f"{what}, and the key given is {key.id[:12]}")


async def push(
    connection: ClientConnection,
    packed: PackedModel,
    *,
    reset: bool = False,
    progress: Progress = lambda _: None,
) -> PushedModel:
    """Store a model as a version; without `reset`, one that was trained is not replaced.

    Without names of classes it keeps those of the version before, if layout and answers are equal.

    Raises:
        Refused: the repository says why it does not store it.
        Unreachable: the repository does not answer.
    """
    packed = await with_known_classes(connection, packed)
    wish = replace(packed.push, reset=reset)
    version = await _store(connection, wish, packed.blobs, progress)
    return PushedModel(version, packed.spec(), packed.warnings)


async def fetch_stored(
    connection: ClientConnection, ref: ModelRef, progress: Progress = lambda _: None
) -> tuple[bytes, bytes]:
    """Fetch a version's spec and weights as they are stored; an encrypted one stays encrypted.

    Raises:
        Failed: the repository does not hold them any more, or they are damaged.
        Unreachable: the repository does not answer, or stopped in the middle.
    """
    request = Pull(ref.source, (ref.spec, ref.weights), Spools(IN_MEMORY_BYTES))
    request.moved = progress
    got = await run_request(connection, request)
    spec, weights = got[ref.spec.digest], got[ref.weights.digest]
    return bytes(spec.read(0, spec.size)), bytes(weights.read(0, weights.size))


async def push_derived(
    connection: ClientConnection,
    made: DerivedModel,
    *,
    reset: bool = False,
    progress: Progress = lambda _: None,
) -> PushedModel:
    """Store a version that a key holder made of an encrypted one.

    Raises:
        Refused: the repository says why it does not store it.
        Unreachable: the repository does not answer.
    """
    wish = replace(made.push, reset=reset)
    version = await _store(connection, wish, made.blobs, progress)
    return PushedModel(version, made.spec, ())


async def _store(
    connection: ClientConnection,
    wish: PushModel,
    blobs: Mapping[str, bytes | bytearray],
    progress: Progress,
) -> ModelRef:
    def fits(answer: ModelPushed) -> bool:
        made = answer.version
        return (made.model, made.weights, made.spec) == (wish.model, wish.weights, wish.spec)

    request = Push(repository_node(), wish, ModelPushed, blobs, fits)
    request.moved = progress
    return (await run_request(connection, request)).version


async def with_known_classes(connection: ClientConnection, packed: PackedModel) -> PackedModel:
    """Keep the names of classes of the version before where the model has none."""
    spec = packed.spec()
    if spec.classes or spec.model not in {each.model for each in await models(connection)}:
        return packed
    before = await history(connection, VersionChoice(model=spec.model), limit=1)
    if not before.spec.classes:
        return packed
    named = class_names(before.spec)
    whose = f"the class names of version {before.ref.version}, {named}"
    if not same_outputs(spec, before.spec):
        note = "are not kept, as its layout or answers differ; give classes to name the outputs"
    else:
        packed = packed.with_classes(before.spec.classes)
        note = "are kept; give classes to change them"
    return replace(packed, warnings=(*packed.warnings, f"{whose}, {note}"))


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
