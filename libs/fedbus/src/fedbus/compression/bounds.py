"""Bounds on the size of compressed blobs, which are checked before one is fetched. Pure."""

from collections.abc import Sequence

from fedbus.compression.body import Body, Content, body_bounds
from fedbus.compression.chain import Chain, chain_of
from fedbus.compression.compressed_header import GREATEST_SEED, compressed_header_bytes
from fedbus.compression.zstandard_frame import frame_bounds
from fedbus.model.encodings import SizeBounds
from fedbus.model.layout import Layout
from fedbus.training.params import PluginChoice


def compressed_bounds(
    layout: Layout,
    steps: Sequence[PluginChoice],
    frozen_count: int = 0,
    content: Content = "delta",
) -> SizeBounds:
    """Return the least and the most bytes of a compressed blob, header included.

    Raises:
        PluginError: The steps are no chain.
        LayoutError: More numbers are frozen than the layout has.
    """
    chain = chain_of(steps)
    data = data_bounds(body_bounds(Body(layout, content), chain, frozen_count), chain)
    headers = [len(compressed_header_bytes(layout, chain, seed)) for seed in (0, GREATEST_SEED)]
    return SizeBounds(min(headers) + data.least, max(headers) + data.most)


def data_bounds(body: SizeBounds, chain: Chain) -> SizeBounds:
    """Return the sizes of the data after the header, for bodies of these sizes."""
    return body if chain.level is None else frame_bounds(body)
