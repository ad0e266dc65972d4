"""Modules and sources of noise for the tests of DP-SGD."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fedbus.model.layout import Array
from fedbus.plugins import Block


class NoNoise:
    """A source without noise, which draws all examples or the ones that it is given."""

    def __init__(self, uniforms: Array | None = None) -> None:
        self._uniforms = uniforms

    def normals(self, count: int, /) -> Block:
        return np.zeros(count)

    def uniforms(self, count: int, /) -> Block:
        if self._uniforms is None:
            return np.full(count, 1e-9)
        taken, self._uniforms = self._uniforms[:count], self._uniforms[count:]
        return taken


class Pictures(nn.Module):
    """Convolutions with group normalization, of which one weight is frozen and one unused."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3)
        self.norm = nn.GroupNorm(2, 4)
        self.second = nn.Conv2d(4, 2, 3)
        self.second.bias.requires_grad_(False)  # type: ignore[union-attr]  # it has one
        self.out = nn.Linear(2 * 4 * 4, 3)
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        found = torch.relu(self.norm(self.first(x)))
        answer: Tensor = self.out(torch.tanh(self.second(found)).flatten(1))
        return answer


class Words(nn.Module):
    """An embedding with padding, layer normalization, and output weights that are its own."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 4, padding_idx=0)
        self.norm = nn.LayerNorm(4)
        self.out = nn.Linear(4, 9, bias=False)
        self.out.weight = self.table.weight

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.out(self.norm(self.table(x)).mean(dim=1))
        return answer


class Bag(nn.Module):
    """A bag of words in one of its modes."""

    def __init__(self, mode: str = "mean", padding: int | None = 0) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(9, 4, mode=mode, padding_idx=padding)
        self.out = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.out(self.bag(x))
        return answer


class Scaled(nn.Module):
    """Parameters of its own, which Opacus has no rule for: in double precision, and one number."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(0.5, 2, 6, dtype=torch.float64))
        self.heat = nn.Parameter(torch.tensor(1.5))
        self.out = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.out((x * self.scale).float()) * self.heat
        return answer


class Mixed(nn.Module):
    """Subtracts the mean of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.out(x - x.mean(dim=0).detach())
        return answer


class Shared(nn.Module):
    """Uses the weight of a layer without the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.out(x) + x @ self.out.weight
        return answer


class Turned(nn.Module):
    """Has the examples in the second dimension while its layer works."""

    def __init__(self, rows: int = 2) -> None:
        super().__init__()
        self.rows = rows
        self.out = nn.Linear(6 // rows, 3)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.out(x.reshape(len(x), self.rows, -1).transpose(0, 1)).sum(dim=0)
        return answer


def plain(**layers: Any) -> nn.Module:  # noqa: ANN401 - modules
    """Return a sequence of named layers."""
    net = nn.Sequential()
    for name, layer in layers.items():
        net.add_module(name, layer)
    return net
