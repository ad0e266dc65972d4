"""Cache of models: specs and their files by digest, and the newest weights of each model. Pure.

An agent that trains from thin blobs and evaluates versions has the newest of both of each model.
Only those files of a spec are fetched that belong to the architecture which will be used.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from fedbus.blobs.spool import Spool
from fedbus.errors import TransferError
from fedbus.limits import MAX_SPEC_BYTES
from fedbus.model.blob_header import Blob
from fedbus.model.layout import Layout
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef, EncryptedVersion, ModelRef
from fedbus.wire.documents import ModelSpec
from fedbus.wire.spec_files import files_of, named_files
from fedbus_edge_agent.tasks.newest_blobs import NewestBlobs
from fedbus_edge_agent.training.task_runner import Model

MAX_MODELS = 8
MAX_INCOMPLETE_MODELS = 64
"""Specs that are cached while inputs are fetched. Once one is used, `MAX_MODELS` of them stay."""

ChooseArchitecture = Callable[[ModelSpec, str | None], str]
"""Returns the architecture of a spec that a task will use; raises PluginError if there is none."""


class CachedModels:
    """Specs, files and weights to use again; without `choose`, all files of a spec."""

    def __init__(self, choose: ChooseArchitecture | None = None) -> None:
        self._choose = choose
        self._specs: OrderedDict[str, Model] = OrderedDict()  # by digest, with the fetched files
        self._weights = NewestBlobs(MAX_MODELS)  # by model
        self._anchors = NewestBlobs(MAX_MODELS)  # by model: plain weights that many rounds need
        self._thin = NewestBlobs(MAX_MODELS)  # by model
        self._hidden: set[str] = set()  # digests of specs

    def sizes(self) -> dict[str, int]:
        """Return the bytes of files of each model whose spec is cached and shown, by name."""
        return {
            model.spec.model: sum(len(data) for data in model.files.values())
            for digest, model in self._specs.items()
            if digest not in self._hidden
        }

    def use(self, ref: ModelRef, *, private: bool) -> None:
        """Show a task's model in `sizes`, unless only private trainings have used it here."""
        if not private:
            self._hidden.discard(ref.spec.digest)
        elif ref.spec.digest not in self._specs:
            self._hidden.add(ref.spec.digest)

    def spec(self, ref: ModelRef) -> ModelSpec | None:
        """Return a version's spec, if it is cached."""
        model = self._specs.get(ref.spec.digest)
        return None if model is None else model.spec

    def layout(self, ref: ModelRef) -> Layout:
        """Return the layout of a version whose spec is cached."""
        return self._specs[ref.spec.digest].layout

    def missing(self, ref: ModelRef, wanted: str | None = None) -> list[BlobRef]:
        """Return the blobs to fetch next: the files of a spec are known once the spec is cached.

        Raises:
            FedbusError: No architecture of the spec can be used, or the spec is too large.
        """
        found = [] if self.has_weights(ref) else [ref.download]
        if ref.encryption is not None and not self._has_anchor(ref, ref.encryption):
            found.append(ref.encryption.anchor_weights)
        model = self._specs.get(ref.spec.digest)
        if model is not None:
            files = self._files_of(model.spec, wanted)
            return found + [blob_ref for blob_ref in files if blob_ref.digest not in model.files]
        if ref.spec.size > MAX_SPEC_BYTES:
            raise TransferError(f"a spec of {ref.spec.size} bytes, at most {MAX_SPEC_BYTES}")
        return [*found, ref.spec]

    def add(self, ref: ModelRef, blob_ref: BlobRef, spool: Spool) -> None:
        """Add a blob that was fetched for a version.

        Raises:
            FedbusError: The digest of a spec or a file differs, or the spec cannot be used.
        """
        if blob_ref == ref.download:  # the training thread checks the digest: they may be large
            self._newest(ref).add(ref.model, blob_ref, spool)
            return
        if ref.encryption is not None and blob_ref == ref.encryption.anchor_weights:
            self._anchors.add(ref.model, blob_ref, spool)
            return
        try:
            if spool.digest() != blob_ref.digest:
                raise TransferError(f"{blob_ref.digest[:12]}: other bytes than its digest names")
            with spool.read(0, blob_ref.size) as content:
                data = bytes(content)
        finally:
            spool.close()
        if blob_ref == ref.spec:
            spec = codec.from_json(ModelSpec, data)
            files_of(spec)  # raises now for a spec that would fail at each later use
            self._specs[ref.spec.digest] = Model(spec, Layout.read(spec.layout), {})
            self._keep(MAX_INCOMPLETE_MODELS)
        elif ref.spec.digest in self._specs:
            self._specs[ref.spec.digest].files[blob_ref.digest] = data

    def model(self, ref: ModelRef) -> Model:
        """Return a model with all its files and a lease on its anchor, and mark it as used.

        Raises:
            StoreError: The anchor cannot be read, because the disk was full.
        """
        self._specs.move_to_end(ref.spec.digest)
        self._keep(MAX_MODELS)
        model = self._specs[ref.spec.digest]
        return (
            model
            if ref.encryption is None
            else replace(model, anchor=self._anchors.read(ref.model))
        )

    def weights(self, ref: ModelRef) -> Blob:
        """Return a lease on a version's weights: they stay unchanged while others are added.

        They are its thin blob if the reference names one.

        Raises:
            StoreError: They cannot be read, because the disk was full.
        """
        return self._newest(ref).read(ref.model)

    def drop_weights(self, ref: ModelRef) -> None:
        """Drop a version's weights and its anchor: they may be damaged."""
        if self.has_weights(ref):
            self._newest(ref).drop(ref.model)
        if ref.encryption is not None and self._has_anchor(ref, ref.encryption):
            self._anchors.drop(ref.model)

    def _has_anchor(self, ref: ModelRef, encryption: EncryptedVersion) -> bool:
        """Return whether the anchor is cached, perhaps as the weights of the round before."""
        wanted = encryption.anchor_weights
        if not self._anchors.has(ref.model, wanted) and self._weights.has(ref.model, wanted):
            self._weights.move(ref.model, self._anchors)
        return self._anchors.has(ref.model, wanted)

    def has_weights(self, ref: ModelRef) -> bool:
        """Return whether the cached weights of a model are those of a version."""
        return self._newest(ref).has(ref.model, ref.download)

    def _newest(self, ref: ModelRef) -> NewestBlobs:
        return self._weights if ref.thin is None else self._thin

    def _files_of(self, spec: ModelSpec, wanted: str | None) -> tuple[BlobRef, ...]:
        if self._choose is None:
            return files_of(spec)
        name = self._choose(spec, wanted)
        return named_files([(name, spec.architectures[name])])

    def _keep(self, most: int) -> None:
        while len(self._specs) > most:
            self._hidden.discard(self._specs.popitem(last=False)[0])
