"""Gradients of single examples, clipped and summed, with noise: the steps of DP-SGD.

Abadi et al. 2016 (arXiv 1607.00133). Opacus computes the gradients of single examples. The noise
and the choice of examples are not its own: its secure mode needs a package that is no longer
maintained, and PyTorch's generators are not cryptographic.
"""

import warnings
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

import torch
from torch import Tensor, nn

from fedbus.errors import PrivacyError
from fedbus.model.layout import Array
from fedbus.plugins import SecretNoise
from fedbus.privacy.noise_numbers import on_grid
from fedbus.training.dp_sgd import rows_at_once
from fedbus.training.params import DpSgdParams

_ROUNDING: Final = 1 - 1e-6
"""Keeps a clipped gradient, in single precision, within the norm."""

_HARMLESS: Final = ("Full backward hook is firing", "In (CPU|CUDA) autocast, but the target dtype")
"""Warnings of PyTorch: inputs need no gradients, and Opacus asks for the precision that is used."""


class ExampleGradients:
    """The gradients of a module in one training with DP-SGD; a context in which it is hooked.

    Args:
        net: The module.
        params: The clipping norm and the noise multiplier.
        noise: A source of noise with a key of its own.

    Raises:
        PrivacyError: Opacus cannot compute the gradients of single examples for a layer.
    """

    def __init__(self, net: nn.Module, params: DpSgdParams, noise: SecretNoise) -> None:
        self._net = net
        self._params = params
        self._noise = noise
        self._trained = {n: weight for n, weight in net.named_parameters() if weight.requires_grad}
        self._sums: dict[str, Tensor] = {}
        self._hooks = _hooked(net)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hooks.cleanup()

    def rows_at_once(self, batch_size: int) -> int:
        """Return the number of examples whose gradients are held at once."""
        sizes = (weight.numel() * weight.element_size() for weight in self._trained.values())
        return rows_at_once(batch_size, sum(sizes))

    def drawn(self, rate: float) -> Callable[[int], Array]:
        """Return a function that draws each of some rows with a probability, on its own."""
        return lambda rows: self._noise.uniforms(rows) < rate

    def compared(self, loss: Tensor, rows: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the gradients of a batch's examples, and of the batch, by parameter.

        Args:
            loss: The mean loss of the batch.
            rows: The number of its examples.

        Raises:
            PrivacyError: A layer sees other rows than the examples.
        """
        each = self._take(loss, rows)
        named = self._trained.items()
        whole = {name: weight.grad.clone() for name, weight in named if weight.grad is not None}
        self._net.zero_grad()
        return each, whole

    def _take(self, loss: Tensor, rows: int) -> dict[str, Tensor]:
        """Return the gradients of a batch's examples; none for a parameter that it does not use."""
        torch.autograd.backward(loss)
        found: dict[str, Tensor] = {}
        for name, weight in self._trained.items():
            each: Tensor | list[Tensor] | None = weight.grad_sample  # type: ignore[attr-defined]  # Opacus adds it
            weight.grad_sample = None  # type: ignore[attr-defined]  # as above
            if each is None:
                continue
            if not isinstance(each, Tensor) or each.shape[0] != rows:
                raise PrivacyError(
                    f"DP-SGD: the layer of {name!r} does not get one row for each example, so the "
                    "gradient of an example is unknown; keep the examples in the first dimension"
                )
            found[name] = each.detach().to(torch.promote_types(weight.dtype, torch.float32))
        return found

    def add(self, loss: Tensor, rows: int) -> None:
        """Clip the gradients of a batch's examples, and add them to the sums of the step.

        Args and errors are those of `compared`. The gradient of the batch, which is not private, is
        cleared.
        """
        each = self._take(loss, rows)
        self._net.zero_grad()
        for name, total in clipped_sums(each, self._params.max_grad_norm).items():
            self._sums[name] = self._sums[name] + total if name in self._sums else total

    def finish(self, expected: float) -> None:
        """Add noise to the sums of the step, and give the module their mean as its gradients.

        Each parameter gets noise, even if no example was drawn. `expected` is the number of
        examples that a step draws on average, which does not tell how many this one has drawn.
        """
        deviation = self._params.noise_multiplier * self._params.max_grad_norm
        for name, weight in self._trained.items():
            total = self._sums.get(name, torch.zeros_like(weight)).reshape(-1).double().cpu()
            noise = deviation * self._noise.normals(weight.numel())
            noisy = torch.from_numpy(on_grid(total.numpy() + noise, deviation) / expected)
            weight.grad = noisy.reshape(weight.shape).to(weight.device, weight.dtype)
        self._sums = {}


def clipped_sums(each: Mapping[str, Tensor], norm: float) -> dict[str, Tensor]:
    """Return the sums of gradients of shape (rows, …), clipped to a common norm of at most `norm`.

    They are added up in double precision: in single precision, one row could change the rounding of
    all others by more than the margin of the norm. A row with a NaN or an infinity counts as zeros,
    since its norm is unknown.
    """
    if not each:
        return {}
    rows = [gradient.reshape(len(gradient), -1) for gradient in each.values()]
    squares = [gradient.double().square().sum(dim=1) for gradient in rows]
    norms = torch.stack(squares).sum(dim=0).sqrt()
    usable = norms.isfinite()
    factors = torch.where(usable, (norm * _ROUNDING / norms).clamp(max=1), 0)
    sums = {}
    for name, gradient in each.items():
        shape = (-1, *(1 for _ in gradient.shape[1:]))
        kept = torch.where(usable.reshape(shape), gradient, 0)
        sums[name] = (kept * factors.to(gradient.dtype).reshape(shape)).sum(0, dtype=torch.float64)
    return sums


def _hooked(net: nn.Module) -> Any:  # noqa: ANN401 - Opacus is imported where it is used
    from opacus.grad_sample import (  # type: ignore[import-untyped]  # it has no types  # noqa: PLC0415 - as said
        GradSampleHooks,
    )

    class Hooks(GradSampleHooks):  # type: ignore[misc]  # Opacus has no types
        """Opacus' hooks, which also respect the padding of embeddings."""

        GRAD_SAMPLERS = {  # noqa: RUF012 - as in Opacus
            **GradSampleHooks.GRAD_SAMPLERS,
            nn.Embedding: _of_embedding,
            nn.EmbeddingBag: _of_bag,
        }

    for known in _HARMLESS:
        warnings.filterwarnings("ignore", known, UserWarning)
    try:
        return Hooks(net)
    except NotImplementedError as error:
        raise PrivacyError(f"DP-SGD: {error}") from error


def _of_embedding(
    layer: nn.Embedding, inputs: list[Tensor], gradients: Tensor
) -> dict[Tensor, Tensor]:
    words = inputs[0].reshape(len(inputs[0]), -1)
    return {layer.weight: _of_words(layer, words, gradients.reshape(*words.shape, -1))}


def _of_bag(
    layer: nn.EmbeddingBag, inputs: list[Tensor], gradients: Tensor
) -> dict[Tensor, Tensor]:
    words = inputs[0]
    if len(inputs) > 1 or words.ndim != 2 or layer.mode == "max":  # noqa: PLR2004 - rows of words
        raise PrivacyError(
            "DP-SGD: an EmbeddingBag must take rows of words, all of one length, without offsets "
            "or weights, and in the mode sum or mean"
        )
    counted = torch.ones_like(words) if layer.padding_idx is None else words != layer.padding_idx
    factor = 1 / counted.sum(dim=1).clamp(min=1) if layer.mode == "mean" else torch.ones(len(words))
    spread = (gradients * factor.to(gradients)[:, None])[:, None, :].expand(*words.shape, -1)
    return {layer.weight: _of_words(layer, words, spread)}


def _of_words(layer: nn.Embedding | nn.EmbeddingBag, words: Tensor, gradients: Tensor) -> Tensor:
    """Add up the gradients of each word of a row; words: (rows, words)."""
    found = gradients.new_zeros(len(words), layer.num_embeddings, layer.embedding_dim)
    found.scatter_add_(1, words[:, :, None].expand_as(gradients), gradients)
    if layer.padding_idx is not None:
        found[:, layer.padding_idx] = 0
    return found
