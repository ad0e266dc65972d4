"""Keys of AI4OS, Plato and Sedna about privacy, read as what they mean here. Pure.

AI4OS states its mechanism by flags of the server, Plato by parameters of its trainer, and Sedna by
its algorithm.
"""

from collections.abc import Mapping
from typing import Any, Final

from fedbus.jobs.key_translation import ForeignKey, Translation, take_object
from fedbus.wire.job_faults import show
from fedbus.wire.json_reader import InvalidValue, clip

_PRIVACY: Final = "privacy-mechanisms"
_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False}
_OF_FLAG: Final[Mapping[str, str]] = {"DP": "dp-fixed", "METRIC_PRIVACY": "metric-privacy"}
_OF_MECHANISM: Final[Mapping[str, str]] = {
    "NOISE_MULT": "noise_multiplier",
    "CLIPPING_NORM": "clipping_norm",
    "SAMPLED_CLIENTS": "num_sampled_clients",
}
_CHOSEN: Final = "Of the mechanism that `DP` or `METRIC_PRIVACY` chooses."

SERVER_PRIVACY_KEYS: Final[Mapping[str, ForeignKey]] = {
    **{
        flag: ForeignKey(f"{_PRIVACY}.{name}", "`true` chooses it; `false` is as if left out.")
        for flag, name in _OF_FLAG.items()
    },
    **{
        word: ForeignKey(f"{_PRIVACY}.dp-fixed.{name}", _CHOSEN)
        for word, name in _OF_MECHANISM.items()
    },
}
"""Keys of `server_conf` as AI4OS names them."""

TRAINER_PRIVACY_KEYS: Final[Mapping[str, ForeignKey]] = {
    "dp_max_grad_norm": ForeignKey(f"{_PRIVACY}.dp-sgd.max_grad_norm"),
    "dp_delta": ForeignKey(f"{_PRIVACY}.accounting.delta"),
    "dp_epsilon": ForeignKey(
        f"{_PRIVACY}.accounting.target_epsilon",
        "The job ends before it; noise_multiplier is not computed from it, and must be given.",
    ),
}
"""Keys of `privacy-mechanisms.dp-sgd` as Plato names them."""

ALGORITHM_KEYS: Final[Mapping[str, ForeignKey]] = {
    "type": ForeignKey(f"{_PRIVACY}.mistnet", "Only `mistnet` is accepted."),
    "cut_layer": ForeignKey(f"{_PRIVACY}.mistnet.cut_layer"),
    "epsilon": ForeignKey(f"{_PRIVACY}.mistnet.epsilon"),
    "features": ForeignKey(f"{_PRIVACY}.mistnet.features", "Sedna has no such key."),
    "trainers": ForeignKey(f"{_PRIVACY}.mistnet.trainers", "Sedna has no such key."),
}
"""Keys of `algorithm`, an object of Sedna's."""

PRIVACY_OBJECTS: Final = ("algorithm",)
"""Keys at the top of a file whose objects are read here."""


def translate_privacy(done: Translation, server: Mapping[str, object]) -> None:
    """Translate the foreign keys about privacy; `server` are those of `server_conf`."""
    _translate_server(done, server)
    _translate_trainer(done)
    _translate_algorithm(done)


def _translate_server(done: Translation, server: Mapping[str, object]) -> None:
    chosen = [name for flag, name in _OF_FLAG.items() if _is_on(done, server, flag)]
    for name in chosen:
        _choose(done, name, f"server_conf.{_flag_of(name)}")
    for word, name in _OF_MECHANISM.items():
        if word not in server:
            continue
        origin = f"server_conf.{word}"
        for mechanism in chosen:
            done.set((_PRIVACY, mechanism, name), server[word], origin)
        if not chosen:
            problem = "neither DP nor METRIC_PRIVACY is true, so there is no privacy mechanism"
            done.refuse(origin, problem, "set one of them, or leave it out")


def _is_on(done: Translation, server: Mapping[str, object], flag: str) -> bool:
    if flag not in server:
        return False
    value = _FLAGS.get(str(server[flag]).lower())
    if value is None:
        problem = f"expected true or false, got {show(server[flag])}"
        done.refuse(f"server_conf.{flag}", problem, "")
    return bool(value)


def _flag_of(mechanism: str) -> str:
    return next(flag for flag, name in _OF_FLAG.items() if name == mechanism)


def _choose(done: Translation, mechanism: str, origin: str) -> None:
    mechanisms = done.tree.get(_PRIVACY)
    if mechanisms is None or (isinstance(mechanisms, dict) and mechanism not in mechanisms):
        done.tree[_PRIVACY] = {**(mechanisms or {}), mechanism: {}}
        done.origins[f"{_PRIVACY}.{mechanism}"] = origin


def _translate_trainer(done: Translation) -> None:
    mechanisms = done.tree.get(_PRIVACY)
    config = mechanisms.get("dp-sgd") if isinstance(mechanisms, dict) else None
    if not isinstance(mechanisms, dict) or not isinstance(config, dict):
        return
    left = {word: value for word, value in config.items() if word not in TRAINER_PRIVACY_KEYS}
    done.tree[_PRIVACY] = {**mechanisms, "dp-sgd": left}
    for word, key in TRAINER_PRIVACY_KEYS.items():
        value: Any = config.get(word)
        if value is not None and not isinstance(value, InvalidValue):
            done.set(tuple(key.to.split(".")), value, f"{_PRIVACY}.dp-sgd.{word}")


def _translate_algorithm(done: Translation) -> None:
    algorithm = take_object(done, "algorithm")
    if not algorithm:
        return
    if str(algorithm.get("type", "")).lower() != "mistnet":
        problem = f"expected 'mistnet', got {show(algorithm.get('type'))}"
        done.refuse("algorithm.type", problem, "strategy chooses how updates become a version")
        return
    _choose(done, "mistnet", "algorithm")
    for word, value in algorithm.items():
        if word not in ALGORITHM_KEYS:
            keys = f"its keys are {', '.join(ALGORITHM_KEYS)}"
            done.refuse(f"algorithm.{clip(word)}", "unknown key", keys)
        elif word != "type":
            done.set((_PRIVACY, "mistnet", word), value, f"algorithm.{word}")
