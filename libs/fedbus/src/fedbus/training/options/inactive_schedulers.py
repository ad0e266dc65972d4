"""Schedulers and callbacks that never act because every round starts them again. Pure."""

from fedbus.text import counted
from fedbus.training.options.torch_options import BY_STEP
from fedbus.training.params import SchedulerParams, SchedulerPart, TrainingParams

_AT_ONCE = BY_STEP | {"constantlr", "linearlr", "terminateonnan"}
"""Those that act from the first batch on."""
_PATIENCE = {"reducelronplateau": 10, "earlystopping": 0}


def inactive_reason(params: TrainingParams) -> str:
    """Return why a job's scheduler changes nothing in any round; empty if it may act."""
    chosen = params.scheduler
    if chosen is None or params.keep_optimizer_state or (first := _first(chosen)) < params.epochs:
        return ""
    return (
        f"scheduler_config: {chosen.name} starts again in every round and acts after "
        f"{counted(first, 'epoch')} at the earliest, but a round has "
        f"{counted(params.epochs, 'epoch')}, so it changes nothing; with "
        "round.keep_optimizer_state: true it continues from round to round"
    )


def _first(chosen: SchedulerParams) -> int:
    """Count the epochs before a scheduler can first change the learning rate."""
    parts = [_of_part(part) for part in chosen.parts]
    if chosen.name == "sequentiallr" and all(part.name not in BY_STEP for part in chosen.parts):
        return min(parts[0], _least(chosen, "milestones"))
    return min(parts) if parts else _of_part(chosen)


def _of_part(chosen: SchedulerPart) -> int:
    name, rule = chosen.name, chosen.args.get("lr_lambda")
    if name in _AT_ONCE or rule in {"constant", "linear"}:
        return 0
    if name in _PATIENCE:
        return _patience(chosen)
    if name == "steplr" or rule == "step":
        return _least(chosen, "step_size")
    return _least(chosen, "milestones") if name == "multisteplr" else 1


def _patience(chosen: SchedulerPart) -> int:
    """Count the epochs without improvement, and the first, which always counts as one."""
    if chosen.args.get("restore_best_weights"):
        return 0
    given = chosen.args.get("patience", _PATIENCE[chosen.name])
    patience = given if isinstance(given, int) else 0
    return max(patience, 2) if "baseline" in chosen.args else max(patience, 1) + 1


def _least(chosen: SchedulerPart, arg: str) -> int:
    value = chosen.args.get(arg)
    return int(min(value)) if isinstance(value, tuple) else int(value or 0)
