"""Local tensors on disk: tensors of the role `local`, which never leave their agent.

The statistics of a batch normalisation are such tensors in FedBN (Li et al. 2021, arXiv
2102.07623), and so is a personal last layer in FedPer (Arivazhagan et al. 2019, arXiv 1912.00818).
They are in no update, and all versions of the model have the values that were pushed first: an
agent begins a job with those values and continues with its own.
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

    def merge_into(self, weights: Weights, layout: Layout, job: str, round_: int) -> Weights | None:
        """Return weights with the local tensors of the latest earlier round, if there is one.

        Return None if that round's file cannot be read.
        """
        names = _local_names(layout)
        if not names or (path := self.files.latest_before(job, round_)) is None:
            return weights
        try:
            local = read_npz(path)
            for tensor in layout.tensors:
                if tensor.role == "local":
                    tensor.check(local[tensor.name])
        except (OSError, KeyError, LayoutError):
            return None
        return {**weights, **{name: local[name] for name in names}}

    def save(self, weights: Weights, layout: Layout, job: str, round_: int) -> None:
        """Write the local tensors that a round's training produced; see `RoundFiles.save`."""
        if names := _local_names(layout):
            self.files.save(job, round_, {name: weights[name] for name in names})


def _local_names(layout: Layout) -> list[str]:
    return [tensor.name for tensor in layout.tensors if tensor.role == "local"]
