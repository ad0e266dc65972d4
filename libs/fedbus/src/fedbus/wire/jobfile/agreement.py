"""Keys that must agree with one another, judged as written so that no other fault hides these."""

import math
from collections.abc import Iterator, Mapping

from fedbus.wire.jobfile.faults import Fault
from fedbus.wire.jobfile.model import RoundSettings
from fedbus.wire.jobfile.options import OptimizerConfig

Written = Mapping[str, object]

_RATES = ("config[0].learning_rate", "optimizer_config.lr", "optimizer_config.learning_rate")
_BOUNDS = {"accuracy": (0.0, 1.0), "loss": (0.0, math.inf)}
_SGD_TAKES = frozenset({
    "optimizer", "name", "lr", "learning_rate", "momentum", "dampening", "nesterov", "weight_decay",
    "maximize", "foreach", "jit_compile", "use_ema", "ema_momentum", "ema_overwrite_frequency",
    "clipnorm", "global_clipnorm", "clipvalue",
})  # fmt: skip


def disagreements(written: Written) -> Iterator[Fault]:
    """Find every pair of keys that cannot both be meant."""
    yield from _one_learning_rate(written)
    yield from _quorum_within_agents(written)
    yield from _reachable_targets(written)
    yield from _arguments_of_sgd(written)


def _one_learning_rate(written: Written) -> Iterator[Fault]:
    given = [(key, rate) for key in _RATES if (rate := _number(written.get(key))) is not None]
    for key, rate in given[1:]:
        if rate != given[0][1]:
            problem = f"{rate:g}, but {given[0][0]} says {given[0][1]:g}"
            yield Fault(key=key, problem=problem, hint="give the learning rate once")


def _quorum_within_agents(written: Written) -> Iterator[Fault]:
    agents = _number(written.get("round.agents", RoundSettings().agents))
    quorum = _number(written.get("round.quorum"))
    if agents is not None and quorum is not None and quorum > agents:
        yield Fault(key="round.quorum", problem=f"{quorum:g}, at most round.agents, {agents:g}")


def _reachable_targets(written: Written) -> Iterator[Fault]:
    for metric, (low, high) in _BOUNDS.items():
        key = f"stopping_target.{metric}"
        threshold = _number(written.get(key))
        if threshold is not None and threshold < low:
            yield Fault(key=key, problem=f"{threshold:g}, at least {low:g}")
        if threshold is not None and threshold > high:
            hint = f"{threshold:g} % is {threshold / 100:g}"
            yield Fault(key=key, problem=f"{threshold:g}, at most {high:g}", hint=hint)
    raised = str(written.get("stopping_flag", False)).lower() in {"true", "1"}
    if raised and not written.get("stopping_target"):
        hint = "give stopping_target"
        yield Fault(key="stopping_flag", problem="true, but nothing to stop at", hint=hint)


def _arguments_of_sgd(written: Written) -> Iterator[Fault]:
    if str(written.get("optimizer_config.optimizer", "sgd")).strip().lower() != "sgd":
        return
    for name in OptimizerConfig.names():
        key = f"optimizer_config.{name}"
        if key in written and name not in _SGD_TAKES:
            hint = "sgd takes lr or learning_rate"
            yield Fault(key=key, problem="not an argument of sgd", hint=hint)


def _number(value: object) -> float | None:
    """Read a number as the model would; None for what is none, which the model reports."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
