"""Upload of a model to the repository as a new version."""

from collections.abc import Mapping
from dataclasses import replace

from fedbus.client.connection import ClientConnection
from fedbus.client.derived_models import DerivedModel
from fedbus.client.model_outputs import class_names, same_outputs
from fedbus.client.packed_model import PackedModel
from fedbus.client.repository import Push
from fedbus.client.results import PushedModel
from fedbus.client.stored_models import Progress, history, models, repository_node, run_request
from fedbus.wire.blobs import ModelRef
from fedbus.wire.messages import ModelPushed, PushModel
from fedbus.wire.version_choice import VersionChoice


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
