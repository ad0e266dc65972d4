"""Cache of layouts, base weights and strategy states from earlier rounds of the collector. Pure."""

from collections import OrderedDict

from fedbus.blobs.spool import Spool
from fedbus.model.layout import Layout

MAX_LAYOUTS = 64
MAX_CACHED_BLOBS = 8


class ModelCache:
    """Layouts by the digest of their model spec; weights and states by their own digest."""

    def __init__(self) -> None:
        self._layouts: OrderedDict[str, Layout] = OrderedDict()
        self._blobs: OrderedDict[str, Spool] = OrderedDict()

    def layout(self, spec: str) -> Layout | None:
        """Return the layout of the model spec with this digest."""
        return self._layouts.get(spec)

    def put_layout(self, spec: str, layout: Layout) -> None:
        """Keep a layout; discard the oldest beyond MAX_LAYOUTS."""
        self._layouts[spec] = layout
        while len(self._layouts) > MAX_LAYOUTS:
            self._layouts.popitem(last=False)

    def take_blob(self, digest: str) -> Spool | None:
        """Remove and return a spool, which the caller must close; None if it is not cached."""
        return self._blobs.pop(digest, None)

    def put_blob(self, digest: str, spool: Spool) -> None:
        """Keep a spool; close the oldest beyond MAX_CACHED_BLOBS."""
        if digest in self._blobs:
            self._blobs.pop(digest).close()
        self._blobs[digest] = spool
        while len(self._blobs) > MAX_CACHED_BLOBS:
            self._blobs.popitem(last=False)[1].close()
