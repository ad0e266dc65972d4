"""The models an agent holds: specs and files by digest, and the last weights it was given. Pure.

Of a spec's files only those are fetched that the architecture names which will be used.
"""

from collections import OrderedDict
from collections.abc import Callable

from fedbus.blobs.spool import Spool
from fedbus.errors import TransferError
from fedbus.limits import MAX_SPEC_BYTES
from fedbus.model.blob import Blob
from fedbus.model.layout import Layout
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef, ModelRef
from fedbus.wire.documents import ModelSpec
from fedbus.wire.model_spec import files_of, named_files
from fedbus_edge_agent.training.local_trainer import Model

MAX_MODELS = 8
MAX_INCOMPLETE_MODELS = 64
"""Models that are held while they are gathered; of those that were worked on, `MAX_MODELS` stay."""

Choose = Callable[[ModelSpec, str | None], str]
"""Names the architecture of a spec that a task will use; PluginError: none can be used here."""


class CachedModels:
    """What need not be fetched again. Without `choose`, all files of a spec are used."""

    def __init__(self, choose: Choose | None = None) -> None:
        self._choose = choose
        self._specs: OrderedDict[str, Model] = OrderedDict()  # by digest, with the files that came
        self._weights: OrderedDict[str, tuple[str, Spool]] = OrderedDict()  # by model: digest, blob

    def held(self) -> dict[str, int]:
        """Name the models whose spec is here, for the agent's facts, with the bytes of files."""
        return {
            model.spec.model: sum(len(data) for data in model.files.values())
            for model in self._specs.values()
        }

    def spec(self, ref: ModelRef) -> ModelSpec | None:
        """Return a version's spec, once it is here."""
        model = self._specs.get(ref.spec.digest)
        return None if model is None else model.spec

    def missing(self, ref: ModelRef, wanted: str | None = None) -> list[BlobRef]:
        """List the blobs to fetch next; a spec's files are known only once the spec is here.

        Raises:
            FedbusError: the spec has nothing that can be used here; `wanted` is the job's choice.
        """
        found = [] if self.holds(ref) else [ref.weights]
        model = self._specs.get(ref.spec.digest)
        if model is not None:
            files = self._files_of(model.spec, wanted)
            return found + [blob_ref for blob_ref in files if blob_ref.digest not in model.files]
        if ref.spec.size > MAX_SPEC_BYTES:
            raise TransferError(f"a spec of {ref.spec.size} bytes, at most {MAX_SPEC_BYTES}")
        return [*found, ref.spec]

    def put(self, ref: ModelRef, blob_ref: BlobRef, spool: Spool) -> None:
        """Take a blob that was fetched for a version.

        Raises:
            FedbusError: its bytes are not those of its digest, or it is a spec that cannot be used.
        """
        if blob_ref == ref.weights:  # its digest is checked by the worker: it may be large
            self._forget(ref.model)
            self._weights[ref.model] = blob_ref.digest, spool
            while len(self._weights) > MAX_MODELS:
                self._forget(next(iter(self._weights)))
            return
        try:
            if spool.digest() != blob_ref.digest:
                raise TransferError(f"{blob_ref.digest[:12]}: other bytes than its digest names")
            with spool.read(0, blob_ref.size) as content:
                data = bytes(content)
        finally:
            spool.close()
        if blob_ref == ref.spec:
            self._take_spec(ref, codec.from_json(ModelSpec, data))
        elif ref.spec.digest in self._specs:
            self._specs[ref.spec.digest].files[blob_ref.digest] = data

    def model(self, ref: ModelRef) -> Model:
        """Return a model of which nothing is missing, to be worked on."""
        self._specs.move_to_end(ref.spec.digest)
        self._keep(MAX_MODELS)
        return self._specs[ref.spec.digest]

    def weights(self, ref: ModelRef) -> Blob:
        """Return a lease on a version's weights: they stay unchanged, whatever arrives meanwhile.

        Raises:
            StoreError: they cannot be read, because the disk was full.
        """
        spool = self._weights[ref.model][1]
        return spool.read(0, spool.size)

    def forget_weights(self, ref: ModelRef) -> None:
        """Let go of weights that turned out to be damaged."""
        if self.holds(ref):
            self._forget(ref.model)

    def holds(self, ref: ModelRef) -> bool:
        """Tell whether a version's weights are the last that came of its model."""
        return self._weights.get(ref.model, ("", None))[0] == ref.weights.digest

    def _forget(self, model: str) -> None:
        if model in self._weights:
            self._weights.pop(model)[1].close()

    def _files_of(self, spec: ModelSpec, wanted: str | None) -> tuple[BlobRef, ...]:
        if self._choose is None:
            return files_of(spec)
        name = self._choose(spec, wanted)
        return named_files([(name, spec.architectures[name])])

    def _take_spec(self, ref: ModelRef, spec: ModelSpec) -> None:
        """Refuse a spec now that would be refused later, when it is in the way."""
        files_of(spec)
        self._specs[ref.spec.digest] = Model(spec, Layout.read(spec.layout), {})
        self._keep(MAX_INCOMPLETE_MODELS)

    def _keep(self, most: int) -> None:
        while len(self._specs) > most:
            self._specs.popitem(last=False)
