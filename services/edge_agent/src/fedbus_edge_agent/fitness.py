"""Whether a training or a score can be had here, judged before it is taken on. Pure."""

from collections.abc import Mapping
from typing import Any

from fedbus.errors import FedbusError
from fedbus.wire.announced_names import classes_in, columns_in
from fedbus.wire.fit import Rows, no_room, no_room_for_rows
from fedbus.wire.states import AgentFacts
from fedbus.wire.values import TrainingParams
from fedbus_edge_agent.trainers import Chooses


def judge(
    trainer: str | None,
    params: TrainingParams,
    size: int | None,
    facts: AgentFacts,
    bench: Chooses | None,
) -> tuple[Mapping[str, Any], str]:
    """Tell the format that a trainer would be given, and why it cannot be done: "" is no why.

    `size` is that of the weights that are trained; None: nothing is. Without a bench that chooses,
    any plug-in will do.
    """
    rows = Rows.of(facts.format)
    reading = params.reading
    try:
        if bench is not None:
            bench.check(trainer, reading)
            rows = rows if reading is None else bench.rows(reading)
    except FedbusError as error:
        return rows.form, str(error)
    room = None if size is None else no_room(size, params, facts)
    wide = no_room_for_rows(rows, params, facts.examples, facts.memory_mb)
    return rows.form, room or wide or ""


def renamed(asked: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say which names the data have by now that they had not when a task was taken; "" is none.

    A controller has agents of the same names only in one round, and knew of the others.
    """
    for what, find in (("classes", classes_in), ("inputs", columns_in)):
        before, after = find(asked), find(now)
        if before != after:
            return (
                f"the data changed: the {what} are {after or 'without names'} now, and were "
                f"{before or 'without names'} when this agent was asked"
            )
    return ""
