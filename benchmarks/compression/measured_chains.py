"""Chains of steps that are measured, and the settings that they are measured in. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fedbus.training.params import PluginChoice
from fedbus.wire.blobs import Compression

ROUNDS: Final = 40
SEEDS: Final = (1, 2)
AGENTS: Final = 10
LAST_ROUNDS: Final = 5
"""The final accuracy is the mean over as many rounds, so that one lucky round counts little."""
PLAIN: Final = "none"


@dataclass(frozen=True, slots=True)
class NetworkSetting:
    """A data set and how its network is trained; about 100,000 parameters."""

    widths: tuple[int, ...]
    learning_rate: float
    epochs: int
    batch_size: int = 32
    split: str = "iid"


SETTINGS: Final[Mapping[str, NetworkSetting]] = {
    "digits": NetworkSetting((64, 300, 260, 10), learning_rate=0.1, epochs=3),
    "mnist1d": NetworkSetting((40, 300, 280, 10), learning_rate=0.2, epochs=5),
}


@dataclass(frozen=True, slots=True)
class MeasuredChain:
    """What a job names: `transmitter` and `download`, and whether agents keep residuals."""

    up: Compression = ()
    down: Compression = ()
    residuals: bool = True


def _step(name: str, **parameters: float) -> PluginChoice:
    return PluginChoice(id=name, parameters=parameters)


_ZSTANDARD: Final = _step("zstandard")
_BYTES: Final = _step("quantize", bits=8)
_FOUR_BITS: Final = _step("quantize", bits=4)


def _sparse(share: float, coding: PluginChoice) -> MeasuredChain:
    return MeasuredChain((_step("top-k", fraction=share), coding, _ZSTANDARD))


CHAINS: Final[Mapping[str, MeasuredChain]] = {
    PLAIN: MeasuredChain(),
    "zstandard": MeasuredChain((_ZSTANDARD,)),
    "cast": MeasuredChain((_step("cast"),)),
    "8 bits": MeasuredChain((_BYTES, _ZSTANDARD)),
    "4 bits": MeasuredChain((_FOUR_BITS, _ZSTANDARD)),
    "top 10 %": MeasuredChain((_step("top-k", fraction=0.1), _ZSTANDARD)),
    "top 10 %, 8 bits": _sparse(0.1, _BYTES),
    "top 10 %, 4 bits": _sparse(0.1, _FOUR_BITS),
    "top 3 %, 4 bits": _sparse(0.03, _FOUR_BITS),
    "top 1 %, 8 bits": _sparse(0.01, _BYTES),
    "top 1 %, 8 bits, no residuals": MeasuredChain(_sparse(0.01, _BYTES).up, residuals=False),
    "random 10 %, 8 bits": MeasuredChain((_step("random-k", fraction=0.1), _BYTES, _ZSTANDARD)),
    "8 bits down": MeasuredChain(down=(_BYTES, _ZSTANDARD)),
    "4 bits down": MeasuredChain(down=(_FOUR_BITS, _ZSTANDARD)),
    "top 10 %, 4 bits; 8 bits down": MeasuredChain(
        _sparse(0.1, _FOUR_BITS).up, (_BYTES, _ZSTANDARD)
    ),
    "top 10 %, 4 bits; 4 bits down": MeasuredChain(
        _sparse(0.1, _FOUR_BITS).up, (_FOUR_BITS, _ZSTANDARD)
    ),
}
"""The chains by their names in the tables, the first without any step."""
