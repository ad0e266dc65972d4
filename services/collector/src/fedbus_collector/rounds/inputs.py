"""What a round needs before it can fold and close: the model's layout, and the base. Pure.

It creates the spools that both arrive in, in the event loop.
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
    """Fetches a model's spec and a base, unless they are on the cache.

    `checking` is true while a worker reads the base, to hold it against its digest.
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
        """The model's, once its spec is here."""
        return self._cache.layout(self._plan.base.spec.digest)

    def fetch(self) -> Iterator[Action]:
        """Fetch what is neither here nor on its way.

        Raises:
            TransferError: the spec is too large to be one.
            StoreError: there is no room.
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
            members = len(self._plan.cohort) + 1  # the group the agents join now
            location = base.location(base.weights)
            yield Fetch(keys.BaseFetch(*self._key), location, self._sinks["base"], members)

    def spec_came(self) -> None:
        """Read the model's layout.

        Raises:
            FedbusError: the spec is damaged, or cannot be read.
        """
        spec, spool = self._plan.base.spec, self._sinks.pop("spec")
        try:
            if spool.digest() != spec.digest:
                raise TransferError("the model spec's bytes are not those of its digest")
            with spool.read(0, spec.size) as content:
                read = codec.from_json(ModelSpec, bytes(content))
            self._cache.keep_layout(spec.digest, Layout.read(read.layout))
        finally:
            spool.close()

    def base_came(self) -> Iterator[Action]:
        """Have the base's digest taken."""
        self.checking = True
        yield Run(keys.BaseCheck(*self._key), self._sinks["base"].digest)

    def base_checked(self, digest: str) -> None:
        """Take the base, if it is the one.

        Raises:
            TransferError: it is another one.
        """
        self.checking = False
        if digest != self._plan.base.weights.digest:
            raise TransferError("the base's bytes are not those of its digest")
        self.base = self._sinks.pop("base")

    def not_came(self, what: keys.Input, now: float) -> Iterator[Action]:
        """Try again in a moment."""
        self._sinks.pop(what).close()
        yield WakeAt(keys.RoundInputRetry(*self._key), now + RETRY_SECONDS)

    def cancel(self) -> Iterator[Action]:
        """Fetch nothing more."""
        for key in (keys.RoundInputRetry, keys.LayoutFetch, keys.BaseFetch):
            yield Cancel(key(*self._key))

    def let_go(self, *, wanted: bool) -> None:
        """Give the room back; a base that may be `wanted` again goes back on the cache."""
        if self.base is not None and wanted:
            self._cache.put_base(self._plan.base.weights.digest, self.base)
        elif self.base is not None:
            self.base.close()
        self.base = None
        for sink in self._sinks.values():
            sink.close()
        self._sinks.clear()
