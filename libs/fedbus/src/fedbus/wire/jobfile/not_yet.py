"""What a job file may say that this version does not do: refused, never ignored.

An issue that implements something deletes its line from `NOT_YET`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from fedbus.wire.jobfile.faults import Fault, nearest, show
from fedbus.wire.jobfile.model import METRICS
from fedbus.wire.jobfile.options import KERAS_OPTIMIZERS, TORCH_OPTIMIZERS

Check = Callable[[str, object], Fault | None]

_INDEX = re.compile(r"\[\d+\]")
_OFF = frozenset({"false", "0", "0.0"})


def only(*works: str, later: tuple[str, ...] = ()) -> Check:
    """Accept these words; others come later, or, where we know which, are no words at all."""
    known = " and ".join(f"'{word}'" for word in works)

    def check(key: str, value: object) -> Fault | None:
        if not isinstance(value, str) or (word := value.strip().lower()) in works:
            return None
        slip = later and word not in later
        near = nearest(word, later if slip else works)
        hint = f"did you mean '{near}'?" if near else f"this version knows {known}"
        problem = "is unknown" if slip else "is not implemented yet"
        return Fault(key=key, problem=f"{show(value)} {problem}", hint=hint)

    return check


def off(hint: str = "leave it out") -> Check:
    """Accept what means that the feature is not used: false or 0."""

    def check(key: str, value: object) -> Fault | None:
        if str(value).strip().lower() in _OFF:
            return None
        return Fault(key=key, problem="not implemented yet", hint=hint)

    return check


def absent(key: str, _value: object) -> Fault:
    """Accept nothing at all."""
    return Fault(key=key, problem="not implemented yet", hint="leave it out")


def agents_own(key: str, _value: object) -> Fault:
    """Accept no choice: it is each agent's own."""
    return Fault(key=key, problem="not implemented yet", hint="FEDBUS_LOADER on each agent does it")


def empty(key: str, value: object) -> Fault | None:
    """Accept an object in which nothing is set."""
    if isinstance(value, dict) and _says_something(value):
        return Fault(key=key, problem="not implemented yet", hint="leave it out or empty")
    return None


def _says_something(value: object) -> bool:
    if isinstance(value, dict):
        return any(_says_something(inside) for inside in value.values())
    return value is not None


def single(key: str, value: object) -> Fault | None:
    """Accept a list of one entry or none."""
    if isinstance(value, list) and len(value) > 1:
        problem = f"{len(value)} entries; more than one is not implemented yet"
        return Fault(key=key, problem=problem, hint="give one")
    return None


NOT_YET: Final[Mapping[str, Check]] = {
    "client_type_id": only("base"),
    "eval_func": only("categorical_crossentropy"),
    "eval_metrics[]": only(*METRICS),
    "eval_metrics_value": off("stopping_target does it"),
    "stopping_target.*": only(*METRICS),
    "config": single,
    "optimizer_config.optimizer": only("sgd", later=(*KERAS_OPTIMIZERS, *TORCH_OPTIMIZERS)),
    "optimizer_config.momentum": off(),
    "optimizer_config.dampening": off(),
    "optimizer_config.nesterov": off(),
    "optimizer_config.weight_decay": off(),
    "optimizer_config.maximize": off(),
    "optimizer_config.foreach": off(),
    "optimizer_config.jit_compile": off(),
    "optimizer_config.use_ema": off(),
    "optimizer_config.ema_momentum": absent,
    "optimizer_config.ema_overwrite_frequency": absent,
    "optimizer_config.clipnorm": absent,
    "optimizer_config.global_clipnorm": absent,
    "optimizer_config.clipvalue": absent,
    "scheduler_config": empty,
    "warmup_config": empty,
    "plugins.loader": agents_own,
    "privacy-mechanisms.homomorphic": absent,
    "privacy-mechanisms.dp-adaptive": absent,
}
"""What is refused for now, by key: `[]` is any entry of a list, `.*` any name in an object."""


def not_yet(written: Mapping[str, object]) -> Iterator[Fault]:
    """Find what this version does not do; `written` is every key of the file with what it says."""
    for key, value in written.items():
        general = _INDEX.sub("[]", key)
        parent, _, name = general.rpartition(".")
        for rule, said in ((general, value), (f"{parent}.*", name)):
            check = NOT_YET.get(rule)
            fault = check(key, said) if check else None
            if fault:
                yield fault
