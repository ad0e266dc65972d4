"""Layers that an architecture may name: arguments, and numbers of parameters. Pure.

An architecture comes over the network: what is not in these tables is refused before Keras sees it,
and a layer's size is computed before it is built. Layers that hold or load code (`Lambda`) are
missing on purpose.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fedbus.errors import TrainingError

MAX_LAYERS: Final = 256
_MAX_ARGUMENT: Final = 2**24
_MAX_FACTOR: Final = 1e6

ACTIVATIONS: Final = frozenset({
    "linear", "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "swish", "tanh",
    "sigmoid", "hard_sigmoid", "softmax", "softplus", "softsign", "exponential",
})  # fmt: skip

POLICIES: Final = frozenset({
    "float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16",
})  # fmt: skip
"""What an architecture's `dtype` may be: Keras's dtype policies of floats."""

Shape = Sequence[int | None]
Config = Mapping[str, Any]


def _whole(value: object) -> bool:
    return type(value) is int and 0 < value <= _MAX_ARGUMENT


def _flag(value: object) -> bool:
    return type(value) is bool


def _real(value: object) -> bool:
    return type(value) in {int, float} and abs(float(value)) <= _MAX_FACTOR  # type: ignore[arg-type]  # a number by now


def _share(value: object) -> bool:
    return _real(value) and 0 <= float(value) < 1  # type: ignore[arg-type]  # a number by now


def _lengths(value: object) -> bool:
    many = isinstance(value, list | tuple) and 0 < len(value) <= 4 and all(map(_whole, value))  # noqa: PLR2004 - dimensions
    return _whole(value) or many


def _shape(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) <= 8 and all(map(_whole, value))  # noqa: PLR2004 - dimensions


def _axis(value: object) -> bool:
    return type(value) is int and -8 <= value < 8  # noqa: PLR2004 - dimensions


def _padding(value: object) -> bool:
    return value in ("valid", "same")


def _activation(value: object) -> bool:
    return value is None or (isinstance(value, str) and value in ACTIVATIONS)


Check = Callable[[object], bool]


def _none(_shape: Shape, _config: Config) -> int:
    return 0


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of layer: checks of its arguments, and its number of parameters for an input shape."""

    takes: Mapping[str, Check] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    numbers: Callable[[Shape, Config], int] = _none


def _last(shape: Shape) -> int:
    return int(shape[-1] or 1) if shape else 1


def _taps(config: Config, dimensions: int) -> int:
    size = config["kernel_size"]
    return math.prod(size) if isinstance(size, list | tuple) else int(size) ** dimensions


def _dense(shape: Shape, config: Config) -> int:
    return (_last(shape) + 1) * int(config["units"])


def _conv(dimensions: int) -> Callable[[Shape, Config], int]:
    def numbers(shape: Shape, config: Config) -> int:
        return (_taps(config, dimensions) * _last(shape) + 1) * int(config["filters"])

    return numbers


def _depthwise(shape: Shape, config: Config) -> int:
    return (_taps(config, 2) + 1) * _last(shape) * int(config.get("depth_multiplier", 1))


def _recurrent(gates: int) -> Callable[[Shape, Config], int]:
    def numbers(shape: Shape, config: Config) -> int:
        units = int(config["units"])
        return gates * units * (_last(shape) + units + 2)

    return numbers


def _embedding(_: Shape, config: Config) -> int:
    return int(config["input_dim"]) * int(config["output_dim"])


def _norm(shape: Shape, _: Config) -> int:
    return 4 * _last(shape)


_BIASED: Final = {"activation": _activation, "use_bias": _flag}
_WINDOW: Final = {"strides": _lengths, "padding": _padding}
_CONV: Final = {"filters": _whole, "kernel_size": _lengths, **_WINDOW, **_BIASED}
_CELL: Final = {"units": _whole, "return_sequences": _flag, "activation": _activation}
_NEEDS_CONV: Final = ("filters", "kernel_size")
_POOL: Final = Kind({"pool_size": _lengths, **_WINDOW})

KINDS: Final[Mapping[str, Kind]] = {
    "Dense": Kind({"units": _whole, **_BIASED}, ("units",), _dense),
    "Conv1D": Kind(_CONV, _NEEDS_CONV, _conv(1)),
    "Conv2D": Kind(_CONV, _NEEDS_CONV, _conv(2)),
    "DepthwiseConv2D": Kind(
        {"kernel_size": _lengths, "depth_multiplier": _whole, **_WINDOW, **_BIASED},
        ("kernel_size",),
        _depthwise,
    ),
    "MaxPooling1D": _POOL,
    "MaxPooling2D": _POOL,
    "AveragePooling1D": _POOL,
    "AveragePooling2D": _POOL,
    "GlobalAveragePooling1D": Kind(),
    "GlobalAveragePooling2D": Kind(),
    "GlobalMaxPooling1D": Kind(),
    "GlobalMaxPooling2D": Kind(),
    "ZeroPadding2D": Kind({"padding": _lengths}),
    "Flatten": Kind(),
    "Reshape": Kind({"target_shape": _shape}, ("target_shape",)),
    "ReLU": Kind({"max_value": _real, "negative_slope": _real}),
    "Softmax": Kind(),
    "Activation": Kind({"activation": _activation}, ("activation",)),
    "Dropout": Kind({"rate": _share}, ("rate",)),
    "Rescaling": Kind({"scale": _real, "offset": _real}, ("scale",)),
    "Normalization": Kind({"axis": _axis}, (), _norm),
    "BatchNormalization": Kind(
        {"momentum": _share, "epsilon": _real, "center": _flag, "scale": _flag}, (), _norm
    ),
    "LayerNormalization": Kind({"epsilon": _real}, (), _norm),
    "Embedding": Kind(
        {"input_dim": _whole, "output_dim": _whole}, ("input_dim", "output_dim"), _embedding
    ),
    "LSTM": Kind(_CELL, ("units",), _recurrent(4)),
    "GRU": Kind(_CELL, ("units",), _recurrent(3)),
    "SimpleRNN": Kind(_CELL, ("units",), _recurrent(1)),
}
"""By Keras's own names."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a sequential model, checked: its kind's name and its arguments."""

    kind: str
    config: Config

    def numbers(self, shape: Shape) -> int:
        """Return an upper bound of its parameters for inputs of a shape (without rows)."""
        return KINDS[self.kind].numbers(shape, self.config)


def read_layers(config: Config) -> tuple[tuple[int, ...], tuple[Layer, ...], int]:
    """Read `{"input": [64], "layers": [["Dense", {"units": 10}], …], "seed": 0}`.

    Returns the shape of a row, the layers, and the seed of the first weights. A `dtype`, which all
    layers have then, is checked here and read by `policy_of`.

    Raises:
        TrainingError: The config has other keys, or names an unknown layer or argument.
    """
    row, seed = config.get("input"), config.get("seed", 0)
    layers = config.get("layers")
    if config.keys() - {"dtype", "input", "layers", "seed"} or not isinstance(layers, list | tuple):
        raise TrainingError(
            "a sequential model is configured by input, layers and perhaps a seed and a dtype"
        )
    policy_of(config)
    if not _shape(row) or type(seed) is not int or seed < 0:
        raise TrainingError("input is the shape of one row, as [28, 28, 1]; seed a whole number")
    if not 0 < len(layers) <= MAX_LAYERS:
        raise TrainingError(f"{len(layers)} layers; 1 to {MAX_LAYERS} belong in a model")
    return tuple(row or ()), tuple(_layer(i, each) for i, each in enumerate(layers)), seed


def policy_of(config: Config) -> str | None:
    """Read the dtype of all layers, or None; raise TrainingError if Keras has no such policy."""
    policy = config.get("dtype")
    if policy is not None and (not isinstance(policy, str) or policy not in POLICIES):
        known = ", ".join(sorted(POLICIES))
        raise TrainingError(f"dtype is {str(policy)[:64]!r}; there is {known}")
    return policy


def _layer(index: int, written: object) -> Layer:
    match written:
        case [str(kind), Mapping() as config]:
            pass
        case [str(kind)] | str(kind):
            config = {}
        case _:
            raise TrainingError(f"layer {index}: not a name and its arguments")
    known = KINDS.get(kind)
    if known is None:
        raise TrainingError(f"layer {index}: no layer {kind[:64]!r}; there is {', '.join(KINDS)}")
    where = f"layer {index}, {kind}"
    for name, value in config.items():
        if name not in known.takes:
            takes = ", ".join(known.takes) or "no arguments"
            raise TrainingError(f"{where}: no argument {str(name)[:64]!r}; it takes {takes}")
        if not known.takes[name](value):
            raise TrainingError(f"{where}: {name} is {str(value)[:64]}, which it does not take")
    for name in known.needs:
        if name not in config:
            raise TrainingError(f"{where}: {name} is missing")
    return Layer(kind, config)
