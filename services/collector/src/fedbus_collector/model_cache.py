"""Cache of layouts and base weights from earlier rounds of the collector. Pure."""

from collections import OrderedDict

from fedbus.blobs.spool import Spool
from fedbus.model.layout import Layout

MAX_LAYOUTS = 64
MAX_BASES = 4


class ModelCache:
    """Layouts by the digest of their model spec, and weights by their digest."""

    def __init__(self) -> None:
        self._layouts: OrderedDict[str, Layout] = OrderedDict()
        self._bases: OrderedDict[str, Spool] = OrderedDict()

    def layout(self, spec: str) -> Layout | None:
        """Return the layout of the model spec with this digest."""
        return self._layouts.get(spec)

    def put_layout(self, spec: str, layout: Layout) -> None:
        """Keep a layout; discard the oldest beyond MAX_LAYOUTS."""
        self._layouts[spec] = layout
        while len(self._layouts) > MAX_LAYOUTS:
            self._layouts.popitem(last=False)

    def take_base(self, digest: str) -> Spool | None:
        """Remove and return a spool, which the caller must close; None if it is not cached."""
        return self._bases.pop(digest, None)

    def put_base(self, digest: str, spool: Spool) -> None:
        """Keep a spool; close the oldest beyond MAX_BASES."""
        if digest in self._bases:
            self._bases.pop(digest).close()
        self._bases[digest] = spool
        while len(self._bases) > MAX_BASES:
            self._bases.popitem(last=False)[1].close()
