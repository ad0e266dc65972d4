"""Tensors that never leave an agent, kept on its disk from round to round of a job.

A layout gives such a tensor the role `local`: the statistics of a batch normalisation under FedBN,
a personal last layer. An update does not hold it, and the model's versions keep the value that was
pushed: an agent begins a job with that one, and goes on with its own.
"""

from dataclasses import dataclass

from fedbus.errors import LayoutError
from fedbus.model.layout import Layout, Weights
from fedbus.model.npz import read_npz
from fedbus_edge_agent.training.round_files import RoundFiles


@dataclass(frozen=True, slots=True)
class LocalTensors:
    """The local tensors of an agent's jobs."""

    files: RoundFiles

    def into(self, weights: Weights, layout: Layout, job: str, round_: int) -> Weights | None:
        """Put this agent's own values in place of the base's.

        None: it should have some of an earlier round, and they cannot be read.
        """
        if not _local(layout) or (path := self.files.before(job, round_)) is None:
            return weights
        try:
            own = read_npz(path)
            for tensor in layout.tensors:
                if tensor.role == "local":
                    tensor.check(own[tensor.name])
        except (OSError, KeyError, LayoutError):
            return None
        return {**weights, **{name: own[name] for name in _local(layout)}}

    def keep(self, weights: Weights, layout: Layout, job: str, round_: int) -> None:
        """Keep the values that a round's training left.

        Raises:
            StoreError: the disk is full, or not writable.
        """
        if names := _local(layout):
            self.files.keep(job, round_, {name: weights[name] for name in names})


def _local(layout: Layout) -> list[str]:
    return [tensor.name for tensor in layout.tensors if tensor.role == "local"]
