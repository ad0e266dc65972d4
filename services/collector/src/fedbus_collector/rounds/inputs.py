"""Inputs of a round: layout and frozen bits, to verify updates; base and state, to close. Pure.

The spools for them are created in the event loop.
"""

from collections.abc import Iterator
from typing import Final

from fedbus.blobs.spool import Spool, Spools
from fedbus.core.actions import Action, Cancel, Fetch, Run, WakeAt
from fedbus.errors import LayoutError, TransferError
from fedbus.limits import MAX_SPEC_BYTES
from fedbus.model.blob_header import blob_size
from fedbus.model.frozen_bits import FrozenBits, frozen_layout
from fedbus.model.layout import Layout
from fedbus.model.sections import state_layout
from fedbus.text import listed
from fedbus.wire import codec
from fedbus.wire.blobs import BlobRef
from fedbus.wire.documents import ModelSpec
from fedbus.wire.messages import OpenRound
from fedbus_collector import keys
from fedbus_collector.model_cache import ModelCache

RETRY_SECONDS = 2.0
INPUT_FETCHES: Final[dict[keys.Input, type[keys.RoundInputFetch]]] = {
    fetch.part: fetch
    for fetch in (keys.LayoutFetch, keys.BaseFetch, keys.StateFetch, keys.FrozenFetch)
}
INPUT_CHECKS: Final[dict[keys.Input, type[keys.InputCheck]]] = {
    check.part: check for check in (keys.BaseCheck, keys.StateCheck, keys.FrozenCheck)
}


class RoundInputs:
    """Fetches a model spec, a base, the strategy's state and frozen bits, unless they are cached.

    Attributes:
        base: The base's weights; None until their digest was checked.
        state: The state arrays of the base version; None until their digest was checked, and if
            there are none.
        frozen: The numbers that the updates of this round leave out; None until the digest of their
            bits was checked, and if there are none.
        checking: The inputs whose digest a worker thread computes.
    """

    def __init__(self, request: OpenRound, spools: Spools, cache: ModelCache) -> None:
        self.base: Spool | None = None
        self.state: Spool | None = None
        self.frozen: FrozenBits | None = None
        self.checking: set[keys.Input] = set()
        self._strategy = request.strategy
        self._plan = request.plan
        self._key = request.plan.job, request.plan.task
        self._spools = spools
        self._cache = cache
        self._sinks: dict[keys.Input, Spool] = {}

    @property
    def layout(self) -> Layout | None:
        """The model's layout; None until its spec was read."""
        return self._cache.layout(self._plan.base.spec.digest)

    @property
    def state_layout(self) -> Layout | None:
        """The layout of the strategy's state arrays; None if it has none, or before `layout`."""
        names, layout = self._strategy.state, self.layout
        return state_layout(layout, names) if names and layout is not None else None

    @property
    def _old_state(self) -> BlobRef | None:
        return None if self._plan.state is None else self._plan.state.arrays

    @property
    def _old_frozen(self) -> BlobRef | None:
        return None if self._plan.state is None else self._plan.state.frozen

    @property
    def complete(self) -> bool:
        """Whether the round can close: the base is here, and the state if there is one."""
        state = self._old_state is None or self.state is not None
        has_base = self.base is not None or not self._needs_base
        return has_base and state and self.verifiable

    @property
    def _needs_base(self) -> bool:
        """Whether the version is computed from the base; a sum of ciphertexts is one by itself."""
        return self._strategy.encryption is None

    @property
    def verifiable(self) -> bool:
        """Whether updates can be verified: layout and frozen bits are here."""
        frozen = self._old_frozen is None or self.frozen is not None
        return self.layout is not None and frozen

    def fetch(self) -> Iterator[Action]:
        """Fetch each input that is neither present nor being fetched; the state after the spec.

        Raises:
            FedbusError: the spec is larger than MAX_SPEC_BYTES, the state is not as large as the
                layout makes it, or there is no room for a spool.
        """
        base = self._plan.base
        if base.spec.size > MAX_SPEC_BYTES:
            raise TransferError(f"a model spec of {base.spec.size} bytes, at most {MAX_SPEC_BYTES}")
        if self.layout is None and "spec" not in self._sinks:
            yield self._fetch("spec", base.spec)
        if self.base is None and self._needs_base:
            self.base = self._cache.take_blob(base.weights.digest)
        if self.base is None and self._needs_base and "base" not in self._sinks:
            # The cohort joins the same multicast; a round of Poisson sampling may have none.
            # Agents that train from a thin blob join another multicast.
            alone = not self._plan.cohort or base.thin is not None
            members = 0 if alone else len(self._plan.cohort) + 1
            yield self._fetch("base", base.weights, members)
        if self.layout is not None:
            yield from self._fetch_state()
            yield from self._fetch_frozen(self.layout)

    def _fetch_state(self) -> Iterator[Action]:
        old, layout = self._old_state, self.state_layout
        if old is None and layout is not None and self._plan.state is not None:
            raise LayoutError(
                f"the plan's state has no arrays; the strategy keeps {listed(self._strategy.state)}"
            )
        if old is None:
            return
        if layout is None:
            raise LayoutError("the plan's state has arrays; the strategy keeps none")
        if old.size != (size := blob_size(layout, "plain")):
            raise LayoutError(f"a state of {old.size} bytes; the strategy's has {size}")
        if self.state is None:
            self.state = self._cache.take_blob(old.digest)
        if self.state is None and "state" not in self._sinks:
            yield self._fetch("state", old)

    def _fetch_frozen(self, layout: Layout) -> Iterator[Action]:
        if (bits := self._old_frozen) is None or self.frozen is not None:
            return
        if self._strategy.freezing is None:
            raise LayoutError("the plan's state freezes numbers; the strategy freezes none")
        if bits.size != (size := blob_size(frozen_layout(layout), "plain")):
            raise LayoutError(f"frozen bits of {bits.size} bytes; the model's have {size}")
        if "frozen" not in self._sinks:
            yield self._fetch("frozen", bits)

    def _fetch(self, part: keys.Input, wanted: BlobRef, members: int = 0) -> Fetch:
        sink = self._sinks[part] = self._spools.make(wanted.size)
        location = self._plan.base.location(wanted)
        return Fetch(INPUT_FETCHES[part](*self._key), location, sink, members)

    def read_spec(self) -> None:
        """Cache the layout of the spec that arrived; raise FedbusError if it is damaged."""
        spec, spool = self._plan.base.spec, self._sinks.pop("spec")
        try:
            if spool.digest() != spec.digest:
                raise TransferError("the model spec's bytes are not those of its digest")
            with spool.read(0, spec.size) as content:
                read = codec.from_json(ModelSpec, bytes(content))
            self._cache.put_layout(spec.digest, Layout.read(read.layout))
        finally:
            spool.close()

    def check(self, part: keys.Input) -> Iterator[Action]:
        """Have a worker thread compute the digest of the base or the state that arrived."""
        self.checking.add(part)
        yield Run(INPUT_CHECKS[part](*self._key), self._sinks[part].digest)

    def checked(self, part: keys.Input, digest: str) -> None:
        """Accept an input if `digest` is the expected one, else raise TransferError."""
        self.checking.discard(part)
        wanted = {"base": self._plan.base.weights, "frozen": self._old_frozen}.get(
            part, self._old_state
        )
        if wanted is None or digest != wanted.digest:
            if part == "frozen":
                raise TransferError("the frozen bits are not those of their digest")
            raise TransferError(f"the {part}'s bytes are not those of its digest")
        if part == "frozen":
            self.frozen = self._read_frozen()
        elif part == "base":
            self.base = self._sinks.pop(part)
        else:
            self.state = self._sinks.pop(part)

    def _read_frozen(self) -> FrozenBits:
        layout, spool = self.layout, self._sinks.pop("frozen")
        assert layout is not None  # noqa: S101 - the bits are fetched once it is known
        try:
            with spool.read(0, spool.size) as blob:
                return FrozenBits.of_blob(bytes(blob), layout)
        finally:
            spool.close()

    def retry_later(self, part: keys.Input, now: float) -> Iterator[Action]:
        """Free the spool of an input that did not arrive, and wake to fetch it again."""
        self._sinks.pop(part).close()
        yield WakeAt(keys.RoundInputRetry(*self._key), now + RETRY_SECONDS)

    def cancel(self) -> Iterator[Action]:
        """Cancel all fetches and retries."""
        yield Cancel(keys.RoundInputRetry(*self._key))
        for fetch in INPUT_FETCHES.values():
            yield Cancel(fetch(*self._key))

    def close(self, *, keep: bool) -> None:
        """Free the spools; put base and state back into the cache if `keep`."""
        for spool, ref in ((self.base, self._plan.base.weights), (self.state, self._old_state)):
            if spool is not None and ref is not None and keep:
                self._cache.put_blob(ref.digest, spool)
            elif spool is not None:
                spool.close()
        self.base = self.state = None
        for sink in self._sinks.values():
            sink.close()
        self._sinks.clear()
