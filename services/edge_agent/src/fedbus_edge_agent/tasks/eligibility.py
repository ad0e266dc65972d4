"""Eligibility of this agent for a task, judged with its plug-ins and data at hand. Pure.

`fedbus.jobs.eligibility` uses the published facts alone, as the controller does. The agent also
knows which plug-ins it allows, and the format of its rows after a job's own loader and transforms.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fedbus.errors import FedbusError
from fedbus.jobs.eligibility import RowFormat, batch_memory_reason, resources_reason
from fedbus.training.dp_sgd import dp_sgd_bytes
from fedbus.training.params import TrainingParams
from fedbus.wire.announced_names import classes_in, columns_in
from fedbus.wire.documents import AgentFacts
from fedbus.wire.privacy import PrivacyTerms
from fedbus_edge_agent.training.trainers import TaskChecker

KEPT_STATES: Final = 2
"""Files of an objective's own arrays, or of a residual: those in use, and those that wait for a
receipt."""


@dataclass(frozen=True, slots=True)
class StrategySizes:
    """Arrays that a strategy needs here, beside those of its objective.

    `sections` is the number of the update's sections, each at most as large as the model's weights.
    `encrypted` and `masked` are whether the update is; `compression` the copies of the weights in
    memory while it is compressed or a thin base is read, and `residual` is whether something is
    left out and kept.
    """

    sections: int = 0
    state_bytes: int = 0
    encrypted: bool = False
    masked: bool = False
    compression: int = 0
    residual: bool = False


MASKING_COPIES: Final = 11
"""Memory to make an update of one tensor whole numbers, measured: 10.3 sizes of its float32."""
ENCRYPTION_COPIES: Final = 10
"""Memory to decrypt a base or encrypt an update, in sizes of the readable weights.

Measured with 4 million float32 numbers: 9.1 and 8.0 sizes.
"""

NO_ARRAYS: Final = StrategySizes()


@dataclass(frozen=True, slots=True)
class Eligibility:
    """Format of the rows that the trainer would get, and why the task cannot be done, else ""."""

    format: Mapping[str, Any]
    reason: str = ""


def eligibility(  # noqa: PLR0913, PLR0917 - all that a judgement depends on
    trainer: str | None,
    params: TrainingParams,
    weights_bytes: int | None,
    facts: AgentFacts,
    checker: TaskChecker | None,
    arrays: StrategySizes = NO_ARRAYS,
    privacy: PrivacyTerms | None = None,
) -> Eligibility:
    """Judge a training, or with no `weights_bytes` an evaluation, before it is accepted.

    Without a `checker`, any plug-in is accepted.
    """
    copies = 0
    rows = RowFormat.announced(facts.format)
    overrides = params.data_overrides
    try:
        if checker is not None:
            checker.check(trainer, overrides)
            rows = rows if overrides is None else checker.rows(overrides)
            if weights_bytes is not None:
                copies = checker.check_strategy(params, privacy)
    except FedbusError as error:
        return Eligibility(rows.format, str(error))
    no_room = None
    if weights_bytes is not None:
        needed = arrays.sections + copies + arrays.compression
        memory = arrays.state_bytes + needed * weights_bytes
        memory += dp_sgd_bytes(params, weights_bytes)
        memory += arrays.encrypted * ENCRYPTION_COPIES * weights_bytes
        memory += arrays.masked * MASKING_COPIES * weights_bytes
        kept = min(copies, KEPT_STATES) + KEPT_STATES * arrays.residual
        storage = (arrays.sections + kept) * weights_bytes
        no_room = resources_reason(weights_bytes, params, facts, memory, storage)
    too_wide = batch_memory_reason(rows, params, facts.examples, facts.memory_mb)
    return Eligibility(rows.format, no_room or too_wide or "")


def changed_names_reason(accepted: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return why a result does not count if the names of classes or inputs changed, else "".

    `accepted` is the data format when the task was accepted: a controller asks only agents with the
    same names in one round.
    """
    for what, find in (("classes", classes_in), ("inputs", columns_in)):
        before, after = find(accepted), find(now)
        if before != after:
            return (
                f"the data changed: the {what} are {after or 'without names'} now, and were "
                f"{before or 'without names'} when this agent was asked"
            )
    return ""
