"""What the collector keeps from round to round: layouts, and the base it produced last. Pure."""

from collections import OrderedDict

from fedbus.blobs.spool import Spool
from fedbus.model.layout import Layout

MAX_LAYOUTS = 64
MAX_BASES = 4


class ModelCache:
    """Things that a next round would otherwise fetch again."""

    def __init__(self) -> None:
        self._layouts: OrderedDict[str, Layout] = OrderedDict()
        self._bases: OrderedDict[str, Spool] = OrderedDict()

    def layout(self, spec: str) -> Layout | None:
        """Find a model's layout by its spec's digest."""
        return self._layouts.get(spec)

    def keep_layout(self, spec: str, layout: Layout) -> None:
        """Remember a layout; the oldest goes."""
        self._layouts[spec] = layout
        while len(self._layouts) > MAX_LAYOUTS:
            self._layouts.popitem(last=False)

    def take_base(self, digest: str) -> Spool | None:
        """Take a blob off the cache; who takes it owns it."""
        return self._bases.pop(digest, None)

    def put_base(self, digest: str, blob: Spool) -> None:
        """Put a blob on the cache; the oldest is let go."""
        if digest in self._bases:
            self._bases.pop(digest).close()
        self._bases[digest] = blob
        while len(self._bases) > MAX_BASES:
            self._bases.popitem(last=False)[1].close()
