"""Thin blob of a new version: the same weights in fewer bytes, which agents train from.

An agent sends the difference to the weights that it has read out of the thin blob. The collector
adds the mean of the differences to the version itself. So what a thin blob lacks is not lost: it is
the distance of the two, and the next thin blob is made from the next version. Quantization errors
do not add up over the rounds.

    thin_t = version_t + error_t                 the agents start here
    update = trained from thin_t - thin_t        they send this
    version_{t+1} = version_t + mean of updates  without error_t
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedbus.blobs.spool import Spool
from fedbus.compression import encode
from fedbus.model.blob import decode
from fedbus.model.layout import Layout
from fedbus.training.params import PluginChoice
from fedbus.wire.blobs import BlobRef


@dataclass(frozen=True, slots=True)
class ThinVersion:
    """Makes a version smaller by these steps; `out` is as large as the largest result."""

    steps: Sequence[PluginChoice]
    rng: np.random.Generator
    out: Spool

    def write(self, version: Spool, layout: Layout) -> BlobRef:
        """Write the thin blob of a version, and return its reference.

        All of the model is in memory meanwhile, and its numbers as floats beside it.

        Raises:
            PluginError: A package is missing that a step needs.
        """
        with version.read(0, version.size) as blob:
            weights = decode(blob, layout, "plain")
            made = encode(weights, layout, self.steps, self.rng, content="plain")
            del weights  # a view of the lease, which ends here
        self.out.shorten(len(made))
        self.out.write(0, made)
        return BlobRef(digest=self.out.digest(), size=len(made))
