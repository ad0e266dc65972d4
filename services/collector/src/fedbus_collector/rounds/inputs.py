"""Inputs of a round: the model's layout, needed to fold, and the base, needed to close. Pure.

The spools for both are created in the event loop.
"""

from collections.abc import Iterator

from fedbus.blobs.spool import Spool, Spools
from fedbus.core.actions import Action, Cancel, Fetch, Run, WakeAt
from fedbus.errors import TransferError
from fedbus.limits import MAX_SPEC_BYTES
from fedbus.model.layout import Layout
from fedbus.wire import codec
from fedbus.wire.documents import ModelSpec
from fedbus.wire.round_records import Plan
from fedbus_collector import keys
from fedbus_collector.model_cache import ModelCache

RETRY_SECONDS = 2.0


class RoundInputs:
    """Fetches a model spec and a base, unless they are cached.

    Attributes:
        base: The base's weights; None until their digest was checked.
        checking: Whether a worker thread computes the digest of the fetched base.
    """

    def __init__(self, plan: Plan, spools: Spools, cache: ModelCache) -> None:
        self.base: Spool | None = None
        self.checking = False
        self._plan = plan
        self._key = plan.job, plan.task
        self._spools = spools
        self._cache = cache
        self._sinks: dict[keys.Input, Spool] = {}

    @property
    def layout(self) -> Layout | None:
        """The model's layout; None until its spec was read."""
        return self._cache.layout(self._plan.base.spec.digest)

    def fetch(self) -> Iterator[Action]:
        """Fetch each input that is neither present nor being fetched.

        Raises:
            FedbusError: the spec is larger than MAX_SPEC_BYTES, or there is no room for a spool.
        """
        base = self._plan.base
        if base.spec.size > MAX_SPEC_BYTES:
            raise TransferError(f"a model spec of {base.spec.size} bytes, at most {MAX_SPEC_BYTES}")
        if self.layout is None and "spec" not in self._sinks:
            self._sinks["spec"] = self._spools.make(base.spec.size)
            location = base.location(base.spec)
            yield Fetch(keys.LayoutFetch(*self._key), location, self._sinks["spec"])
        if self.base is None:
            self.base = self._cache.take_base(base.weights.digest)
        if self.base is None and "base" not in self._sinks:
            self._sinks["base"] = self._spools.make(base.weights.size)
            members = len(self._plan.cohort) + 1  # the cohort joins the same multicast
            location = base.location(base.weights)
            yield Fetch(keys.BaseFetch(*self._key), location, self._sinks["base"], members)

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

    def check_base(self) -> Iterator[Action]:
        """Have a worker thread compute the digest of the base that arrived."""
        self.checking = True
        yield Run(keys.BaseCheck(*self._key), self._sinks["base"].digest)

    def base_checked(self, digest: str) -> None:
        """Accept the base if `digest` is the expected one, else raise TransferError."""
        self.checking = False
        if digest != self._plan.base.weights.digest:
            raise TransferError("the base's bytes are not those of its digest")
        self.base = self._sinks.pop("base")

    def retry_later(self, kind: keys.Input, now: float) -> Iterator[Action]:
        """Free the spool of an input that did not arrive, and wake to fetch it again."""
        self._sinks.pop(kind).close()
        yield WakeAt(keys.RoundInputRetry(*self._key), now + RETRY_SECONDS)

    def cancel(self) -> Iterator[Action]:
        """Cancel all fetches and retries."""
        for key in (keys.RoundInputRetry, keys.LayoutFetch, keys.BaseFetch):
            yield Cancel(key(*self._key))

    def close(self, *, keep_base: bool) -> None:
        """Free the spools; put the base back into the cache if `keep_base`."""
        if self.base is not None and keep_base:
            self._cache.put_base(self._plan.base.weights.digest, self.base)
        elif self.base is not None:
            self.base.close()
        self.base = None
        for sink in self._sinks.values():
            sink.close()
        self._sinks.clear()
