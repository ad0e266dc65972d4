"""Whether a task can be done here, judged before it is taken on. Pure."""

from collections.abc import Mapping
from typing import Any

from fedbus.errors import FedbusError
from fedbus.wire.fit import Rows, no_room, no_room_for_rows
from fedbus.wire.messages import TrainTask
from fedbus.wire.states import AgentFacts
from fedbus_edge_agent.tasks import Order
from fedbus_edge_agent.trainers import Chooses


def judge(order: Order, facts: AgentFacts, bench: Chooses | None) -> tuple[Mapping[str, Any], str]:
    """Tell the format that a trainer would be given, and why the task cannot be done: "" is no why.

    Without a bench that chooses, any plug-in will do.
    """
    rows = Rows.of(facts.format)
    params, reading = order.params, order.params.reading
    try:
        if bench is not None:
            bench.check(order.trainer, reading)
            rows = rows if reading is None else bench.rows(reading)
    except FedbusError as error:
        return rows.form, str(error)
    room = None
    if isinstance(order, TrainTask):
        room = no_room(order.base.weights.size, params, facts)
    wide = no_room_for_rows(rows, params, facts.examples, facts.memory_mb)
    return rows.form, room or wide or ""
