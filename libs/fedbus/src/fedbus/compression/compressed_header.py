"""Header of a compressed blob: that of a weights blob, with the steps that made it. Pure.

The map has `steps`, the id and all parameters of each one, and `seed`, which random-k draws its
indices from. A reader has the steps from its task or strategy, and refuses a blob of others.
"""

from dataclasses import dataclass
from typing import Final

from fedbus.compression.chain import Chain
from fedbus.errors import LayoutError
from fedbus.model.blob_header import Blob, header_fields, packed_header
from fedbus.model.layout import Layout

COMPRESSED: Final = "compressed"
"""The encoding's name in the header."""

GREATEST_SEED: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class CompressedHeader:
    """What a decoder needs of the header; the data begin at `offset`, in bytes."""

    seed: int
    offset: int


def compressed_header_bytes(layout: Layout, chain: Chain, seed: int) -> bytes:
    """Return the header, padding included."""
    steps = _steps(chain)
    fields = {"encoding": COMPRESSED, "layout": layout.digest, "steps": steps, "seed": seed}
    return packed_header(fields)


def read_compressed_header(prefix: Blob, layout: Layout, chain: Chain) -> CompressedHeader:
    """Read the header of a blob, or of its first `MAX_BLOB_HEADER_BYTES` bytes.

    Raises:
        LayoutError: It is another encoding's or another layout's, or names other steps.
    """
    fields, offset = header_fields(prefix)
    if not isinstance(fields, dict) or fields.get("encoding") != COMPRESSED:
        raise LayoutError("a blob that is not compressed, where the job's updates are")
    if fields.get("layout") != layout.digest:
        found = str(fields.get("layout"))[:12]
        raise LayoutError(f"a blob of layout {found}, where the model's is {layout.digest[:12]}")
    if (found_steps := fields.get("steps")) != _steps(chain):
        raise LayoutError(
            f"a blob compressed with {str(found_steps)[:200]}; the job has {_steps(chain)}"
        )
    seed = fields.get("seed")
    if type(seed) is not int or not 0 <= seed <= GREATEST_SEED:
        raise LayoutError(f"a blob with the seed {str(seed)[:40]}; it is 0 to {GREATEST_SEED}")
    return CompressedHeader(seed, offset)


def _steps(chain: Chain) -> list[list[object]]:
    return [[step.id, dict(sorted(step.parameters.items()))] for step in chain.steps]
