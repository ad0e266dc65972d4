"""Pushes of models: the spec, then the blobs that it names, then one insert.

The class decides and performs no I/O; the functions at the end run in a thread.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from fedbus.core.actions import Action, Note, Send
from fedbus.errors import LayoutError, StoreError, TrainingError, TransferError, WireError
from fedbus.limits import MAX_SPEC_BYTES
from fedbus.model.blob_header import check_size
from fedbus.model.layout import Layout
from fedbus.wire.blobs import BlobRef
from fedbus.wire.documents import ModelSpec
from fedbus.wire.messages import ModelPushed, PushModel
from fedbus.wire.refusals import refusal_of_request
from fedbus.wire.spec_files import files_of
from fedbus_repository.handlers.catalog import ModelCatalog
from fedbus_repository.handlers.encrypted_versions import check_encryption_key, check_rotated_size
from fedbus_repository.handlers.model_specs import SpecReader
from fedbus_repository.handlers.pushed_contents import (
    check_architectures,
    check_finite,
    check_statements,
)
from fedbus_repository.handlers.uploads import discard, reserve
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
from fedbus_repository.stores.derived_versions import signed
from fedbus_repository.stores.records import StoreRefusal, Version


@dataclass(frozen=True, slots=True)
class ReadSpec:
    """A pushed spec, its layout and files."""

    spec: ModelSpec
    layout: Layout
    files: Sequence[BlobRef]


class PushHandler:
    """Handles pushes of models by users."""

    def __init__(
        self, store: Store, requests: RequestRunner, catalog: ModelCatalog, specs: SpecReader
    ) -> None:
        self._store, self._requests, self._catalog, self._specs = store, requests, catalog, specs

    def push(self, sender: str, message: PushModel) -> Iterator[Action]:
        """Store a version of a model or refuse it; a repeated push changes nothing."""
        key = RequestRun.of(message, sender, message.model)
        yield from self._requests.start(key, message, self._push(sender, message))

    def _push(self, sender: str, message: PushModel) -> RequestSteps:
        signed_push = replace(message, derived=signed(message.derived, sender))
        uploads: list[Upload] = []
        answer: Version | StoreRefusal
        try:
            answer = yield from self._steps(signed_push, uploads)
        except RequestSuperseded:
            yield Call(partial(discard, uploads))
            return ()
        except TransferError as error:
            answer = _invalid(str(error))
        except StoreError as error:
            answer = StoreRefusal(str(error), kind=error.fault)
        if uploads:
            yield Call(partial(discard, uploads))
        if isinstance(answer, StoreRefusal):
            refused = refusal_of_request(message, message.model, answer.reason, answer.kind)
            facts = {"model": message.model, "reason": answer.reason}
            return Note("model_refused", facts), Send(sender, refused)
        pushed = ModelPushed(version=self._catalog.ref(answer))
        return Send(sender, pushed), *self._catalog.stored(answer)

    def _steps(self, message: PushModel, uploads: list[Upload]) -> Steps[Version | StoreRefusal]:
        store, specs = self._store, self._specs
        answer = yield Call(partial(prepare_push, store, specs, message))
        if isinstance(answer, Version | StoreRefusal):
            return answer
        uploads += answer
        yield FetchUploads(answer)
        read = yield Call(partial(read_spec, specs, message, answer))
        if isinstance(read, StoreRefusal):
            return read
        reserved = yield Call(partial(reserve, store, (message.weights, *read.files)))
        uploads += reserved
        yield FetchUploads(reserved)
        pushed: Version | StoreRefusal = yield Call(
            partial(finish_push, store, specs, message, read, uploads)
        )
        return pushed


def prepare_push(
    store: Store, specs: SpecReader, message: PushModel
) -> Version | StoreRefusal | Sequence[Upload]:
    """Return the answer to a push, or the upload of its spec."""
    answer = store.check_push(message)
    if answer is not None:
        return answer
    if message.encryption is not None:
        try:
            check_encryption_key(message.encryption.key, specs.encryption_key)
        except LayoutError as error:
            return _invalid(f"the weights: {error}")
    if message.spec.size > MAX_SPEC_BYTES:
        return _invalid(
            f"expected a model spec of at most {MAX_SPEC_BYTES} bytes, got {message.spec.size}"
        )
    return reserve(store, (message.spec,))


def read_spec(
    specs: SpecReader, message: PushModel, uploads: Sequence[Upload]
) -> ReadSpec | StoreRefusal:
    """Read the spec, and check it and the stated size of the weights."""
    try:
        spec = specs.read(message.spec, uploads, pushed=True)
        check_statements(spec)
        layout, files = Layout.read(spec.layout, may_be_empty=True), files_of(spec)
    except (LayoutError, TransferError, WireError) as error:
        return _invalid(f"the model spec: {error}")
    if spec.model != message.model:
        return _invalid(f"the model spec: expected model {message.model!r}, got {spec.model!r}")
    try:
        if message.encryption is None:
            check_size(message.weights.size, layout, "plain")
        else:
            check_rotated_size(message.weights.size, layout)
    except LayoutError as error:
        return _invalid(f"the weights: {error}")
    return ReadSpec(spec, layout, files)


def finish_push(
    store: Store, specs: SpecReader, message: PushModel, read: ReadSpec, uploads: Sequence[Upload]
) -> Version | StoreRefusal:
    """Verify and keep all blobs, and insert the version; a refused push leaves none of them.

    Raises:
        StoreError: A blob cannot be kept, and none is left; or it is not known whether the version
            is stored, and the blobs stay until the next start.
    """
    blobs = (message.spec, message.weights, *read.files)
    answer: Version | StoreRefusal | None = None
    try:
        _keep(specs, message, read, uploads)
    except (LayoutError, TrainingError, TransferError) as error:
        answer = _invalid(str(error))
    except StoreError:
        with suppress(StoreError):
            store.delete_unreferenced(blobs)
        raise
    if answer is None:
        answer = store.push(message, read.files)
    if isinstance(answer, StoreRefusal):
        store.delete_unreferenced(blobs)
    return answer


def _keep(specs: SpecReader, message: PushModel, read: ReadSpec, uploads: Sequence[Upload]) -> None:
    """Check the blobs of a version and make them durable."""
    if message.encryption is None:
        specs.check_weights(message.weights, read.layout, uploads)
    else:
        specs.check_rotated(message.weights, read.layout, message.encryption, uploads)
    for upload in uploads:
        upload.keep()
    if message.encryption is None:
        check_finite(message.weights, read.layout, specs.read_blob)
    check_architectures(read.spec, read.layout, specs.read_blob)


def _invalid(reason: str) -> StoreRefusal:
    return StoreRefusal(reason, kind="invalid")
