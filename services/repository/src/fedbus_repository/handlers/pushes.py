"""A model on its way in from a user: its spec, then what that names, then one insert.

The class decides and is pure; the functions at the end run in a thread.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from fedbus.core.actions import Action, Note, Send
from fedbus.errors import LayoutError, StoreError, TrainingError, TransferError, WireError
from fedbus.limits import MAX_SPEC_BYTES
from fedbus.model.blob import MAX_PREFIX
from fedbus.model.layout import Layout
from fedbus.wire.blobs import BlobRef
from fedbus.wire.documents import ModelSpec
from fedbus.wire.messages import ModelPushed, PushModel, RequestRefused
from fedbus.wire.model_spec import files_of
from fedbus_repository.handlers.catalog import ModelCatalog
from fedbus_repository.handlers.commits import discard, keep, reserve
from fedbus_repository.handlers.model_specs import SpecReader
from fedbus_repository.handlers.pushed_contents import (
    check_architectures,
    check_claims,
    check_finite,
)
from fedbus_repository.keys import RequestRun
from fedbus_repository.requests import (
    Call,
    FetchUploads,
    RequestRunner,
    RequestSteps,
    RequestSuperseded,
    Steps,
)
from fedbus_repository.stores.base import Store, Upload
from fedbus_repository.stores.records import StoreRefusal, Version


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a spec asks for: the files it names, and of all its blobs those that are not here."""

    spec: ModelSpec
    layout: Layout
    files: Sequence[BlobRef]
    uploads: Sequence[Upload]


class PushHandler:
    """The desk for users who bring a model."""

    def __init__(
        self, store: Store, errands: RequestRunner, catalog: ModelCatalog, specs: SpecReader
    ) -> None:
        self._store, self._errands, self._catalog, self._specs = store, errands, catalog, specs

    def push(self, sender: str, message: PushModel) -> Iterator[Action]:
        """Store a version of a model, or say why not; the same as the latest is the latest."""
        key = RequestRun.of(message, sender, message.model)
        yield from self._errands.start(key, message, self._push(sender, message))

    def _push(self, sender: str, message: PushModel) -> RequestSteps:
        brought: list[Upload] = []
        answer: Version | StoreRefusal
        try:
            answer = yield from self._bring(message, brought)
        except RequestSuperseded:
            yield Call(partial(discard, brought))
            return ()
        except (StoreError, TransferError) as error:
            answer = StoreRefusal(str(error))
        if brought:
            yield Call(partial(discard, brought))
        if isinstance(answer, StoreRefusal):
            refused = RequestRefused(about=message.model, reason=answer.reason)
            facts = {"model": message.model, "reason": answer.reason}
            return Note("model_refused", facts), Send(sender, refused)
        pushed = ModelPushed(version=self._catalog.ref(answer))
        return Send(sender, pushed), *self._catalog.made(answer)

    def _bring(self, message: PushModel, brought: list[Upload]) -> Steps[Version | StoreRefusal]:
        store, specs = self._store, self._specs
        answer: Version | StoreRefusal | Sequence[Upload] = yield Call(
            partial(look, store, message)
        )
        if isinstance(answer, Version | StoreRefusal):
            return answer
        brought += answer
        yield FetchUploads(answer)
        wanted: Wanted | StoreRefusal = yield Call(
            partial(open_spec, store, specs, message, answer)
        )
        if isinstance(wanted, StoreRefusal):
            return wanted
        brought += wanted.uploads
        yield FetchUploads(wanted.uploads)
        pushed: Version | StoreRefusal = yield Call(
            partial(finish, store, specs, message, wanted, brought)
        )
        return pushed


# ── in a thread ───────────────────────────────────────────────────────────────────────────────────


def look(store: Store, message: PushModel) -> Version | StoreRefusal | Sequence[Upload]:
    """Answer a push at once, or make room for its spec."""
    answer = store.check_push(message.model, message.spec, message.weights, reset=message.reset)
    if answer is not None:
        return answer
    if message.spec.size > MAX_SPEC_BYTES:
        return StoreRefusal(f"a spec of {message.spec.size} bytes, at most {MAX_SPEC_BYTES}")
    return reserve(store, (message.spec,))


def open_spec(
    store: Store, specs: SpecReader, message: PushModel, uploads: Sequence[Upload]
) -> Wanted | StoreRefusal:
    """Read the spec, and make room for what it names."""
    try:
        spec = specs.read(message.spec, uploads, pushed=True)
        check_claims(spec)
        layout, files = Layout.read(spec.layout), files_of(spec)
    except (LayoutError, TransferError, WireError) as error:
        return StoreRefusal(f"the model spec: {error}")
    if spec.model != message.model:
        return StoreRefusal(f"the model spec is of model {spec.model!r}, not {message.model!r}")
    if not layout.size < message.weights.size <= layout.size + MAX_PREFIX:
        return StoreRefusal(
            f"the weights have {message.weights.size} bytes;"
            f" the spec's layout makes {layout.size}, and a header"
        )
    return Wanted(spec, layout, files, reserve(store, (message.weights, *files)))


def finish(
    store: Store, specs: SpecReader, message: PushModel, wanted: Wanted, uploads: Sequence[Upload]
) -> Version | StoreRefusal:
    """Verify and keep all blobs, and make the version."""
    answer: Version | StoreRefusal
    try:
        specs.check(message.weights, wanted.layout, uploads)
        keep(uploads)
        check_finite(message.weights, wanted.layout, specs.read_blob)
        check_architectures(wanted.spec, wanted.layout, specs.read_blob)
        answer = store.push(
            message.model, message.spec, message.weights, wanted.files, reset=message.reset
        )
    except (LayoutError, TrainingError, TransferError) as error:
        answer = StoreRefusal(str(error))
    if isinstance(answer, StoreRefusal):
        store.delete_unreferenced((message.spec, message.weights, *wanted.files))
    return answer
