"""Export of a PyTorch model as an ONNX file, with torch's own exporter."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn

from fedbus.errors import LayoutError, TrainingError
from fedbus.frameworks.onnx_file import (
    INPUT,
    OPSET,
    OUTPUT,
    ROWS,
    check_outputs,
    example_rows,
    finished,
)
from fedbus.frameworks.torch.architectures import build, embeddings
from fedbus.frameworks.torch.loading import load_weights
from fedbus.frameworks.torch.predictions import tensors_of
from fedbus.frameworks.torch.tensors import first_dtype, likely_rows
from fedbus.model.layout import Weights
from fedbus.training.params import Architecture

_EXPORTERS: Final = ("torch.onnx._internal.exporter._registration", "onnxscript", "onnx_ir")
"""Loggers of the packages that export, which warn of what no user can change."""


def onnx_of(architecture: Architecture, weights: Weights, row: Sequence[int] | None) -> bytes:
    """Return an ONNX file with these weights, whose outputs were compared with the module's.

    Args:
        architecture: Of the module.
        weights: By the layout's names.
        row: The shape of a row of inputs; None: one that the first layer takes.

    Raises:
        TrainingError: The architecture is not installed here, torch cannot export it, or the
            file's outputs differ.
        LayoutError: The weights do not fit it, or the shape of a row is not known.
    """
    net = build(architecture).eval()
    load_weights(net, weights)
    words = min((layer.num_embeddings for layer in embeddings(net)), default=0)
    dtype = torch.int64 if words else first_dtype(net)
    if dtype not in {torch.int64, torch.float32, torch.float64}:
        raise TrainingError(f"torch: a model in {dtype} has no ONNX file; float32 and float64 have")
    shapes = [tuple(row)] if row is not None else likely_rows(net)
    number = str(dtype).removeprefix("torch.")
    for shape in shapes:
        rows = torch.from_numpy(example_rows(shape, number, words))
        with torch.no_grad(), _shape_errors(last=shape == shapes[-1]):
            wanted = net(rows)
            break
    else:
        raise LayoutError(
            "torch: the model's spec does not say the shape of a row, which an ONNX file needs: "
            "push the model with --input"
        )
    outputs = _named(wanted, len(rows))
    file = _exported(net, rows[:2], list(outputs))
    for name, output in outputs.items():
        check_outputs(file, rows.numpy(), output.numpy(), name)
    return file


def _named(outputs: object, rows: int) -> Mapping[str, Tensor]:
    """Return the outputs by their names in the file: those that inference answers with."""
    if isinstance(outputs, Tensor):
        return {OUTPUT: outputs}
    found = tensors_of(outputs)
    given = len(outputs) if isinstance(outputs, Sized) else 0
    if len(found) != given or any(each.shape[:1] != (rows,) for each in found.values()):
        raise TrainingError(
            f"torch: the model answers a {type(outputs).__name__} of other things than tensors "
            "with one row for each input; an ONNX file of such outputs is not written"
        )
    return found


@contextmanager
def _shape_errors(*, last: bool) -> Iterator[None]:
    """Suppress what a module raises for rows of a wrong shape; for the last one raise it."""
    try:
        yield
    except (RuntimeError, TypeError, IndexError, ValueError) as error:
        if last:
            raise TrainingError(
                f"torch: the model cannot take rows to export it: {error}"
            ) from error


def _exported(net: nn.Module, rows: Tensor, outputs: Sequence[str]) -> bytes:
    try:
        with _quiet():
            program: Any = torch.onnx.export(
                net,
                (rows,),
                dynamo=True,
                input_names=[INPUT],
                output_names=outputs,
                dynamic_shapes=({0: torch.export.Dim(ROWS)},),
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
    except ImportError:
        raise
    except Exception as error:  # torch.onnx and torch.export raise errors of many kinds
        first = str(error).strip().partition("\n")[0]
        raise TrainingError(f"torch cannot export the model to ONNX: {first}") from error
    return finished(program.model_proto)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress what exporters say of their own internals."""
    loggers = [logging.getLogger(name) for name in _EXPORTERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
