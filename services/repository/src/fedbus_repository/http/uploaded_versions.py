"""Versions of models that arrive over HTTP: the same checks and the same insert as a push.

Everything here is called in a thread.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from fedbus.http_api.responses import ApiError
from fedbus.model.layout import Layout
from fedbus.text import listed
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef, blob_ref_of
from fedbus.wire.documents import ModelSpec
from fedbus.wire.messages import PushModel
from fedbus.wire.spec_files import files_of
from fedbus_repository.handlers.model_specs import SpecReader
from fedbus_repository.handlers.pushed_contents import check_statements
from fedbus_repository.handlers.pushes import finish_push, prepare_push, read_spec
from fedbus_repository.handlers.uploads import discard
from fedbus_repository.http.refusals import accepted
from fedbus_repository.http.schemas import ModelUpload
from fedbus_repository.stores.base import Store, Upload
from fedbus_repository.stores.records import StoreRefusal, Version


def spec_of(upload: ModelUpload) -> ModelSpec:
    """Return the spec of an upload, checked.

    Raises:
        FedbusError: The layout, a file or a statement of it cannot be used.
    """
    names = [each.name for each in fields(ModelSpec) if each.name != "model"]
    spec = ModelSpec(model=upload.model_name, **{name: getattr(upload, name) for name in names})
    Layout.read(spec.layout, may_be_empty=True)
    files_of(spec)
    check_statements(spec)
    return spec


def missing_files(store: Store, spec: ModelSpec) -> list[BlobRef]:
    """Return the files that a spec names and that the store does not hold."""
    return [file for file in files_of(spec) if not store.holds(file)]


@dataclass(frozen=True, slots=True)
class UploadedVersion:
    """A spec, and the weights and files that were received for it: finished, not kept."""

    spec: ModelSpec
    weights: Upload
    files: Sequence[Upload] = ()

    def store(self, store: Store, specs: SpecReader, *, reset: bool) -> Version:
        """Keep the blobs and insert the version; the store numbers it.

        Raises:
            ApiError: 400, a file is missing, is not of the spec, or cannot be used; 409, the store
                refuses a version of this model now.
            StoreError: The disk is full.
        """
        self._check_named()
        body = codec.to_json(self.spec)
        push = PushModel(
            model=self.spec.model,
            spec=blob_ref_of(body),
            weights=self.weights.blob_ref,
            reset=reset,
        )
        uploads: list[Upload] = []
        try:
            answer = self._push(store, specs, push, body, uploads)
        finally:
            discard(uploads)
        return accepted(answer)

    def is_content_of(self, version: Version) -> bool:
        """Return whether a version has this spec and these weights."""
        spec = blob_ref_of(codec.to_json(self.spec))
        return (spec, self.weights.blob_ref) == (version.spec, version.weights)

    def _check_named(self) -> None:
        named = {file.digest for file in files_of(self.spec)}
        for found in (upload.blob_ref for upload in self.files):
            if found.digest not in named:
                raise ApiError(
                    400,
                    f"a file of {found.size} bytes with digest {found.digest[:12]}, which the spec "
                    f"does not name; it names {listed(each[:12] for each in named) or 'none'}",
                )

    def _push(
        self,
        store: Store,
        specs: SpecReader,
        push: PushModel,
        body: bytes,
        uploads: list[Upload],
    ) -> Version | StoreRefusal:
        """Take the steps of a push over the bus; `uploads` gets those of the spec and the rest."""
        answer = prepare_push(store, specs, push)
        if isinstance(answer, Version | StoreRefusal):
            return answer
        uploads += answer
        for upload in answer:
            upload.write(0, body)
        read = read_spec(specs, push, answer)
        if isinstance(read, StoreRefusal):
            return read
        received = {each.blob_ref.digest: each for each in (self.weights, *self.files)}
        blobs = dict.fromkeys((push.weights, *read.files))
        lacking = [blob for blob in blobs if not store.holds(blob)]
        if missing := [blob for blob in lacking if blob.digest not in received]:
            files = listed(f"{blob.size} bytes {blob.digest[:12]}" for blob in missing)
            reason = f"the form lacks files that the spec names: {files}"
            return StoreRefusal(reason, kind="invalid")
        uploads += (received[blob.digest] for blob in lacking)
        return finish_push(store, specs, push, read, uploads)
