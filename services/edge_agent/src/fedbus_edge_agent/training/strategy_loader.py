"""Start of a task's strategy at the agent: its plug-ins, the arrays that it keeps, its noise."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fedbus.model.blob_header import Blob
from fedbus.model.layout import Layout, Weights
from fedbus.plugins import SecretNoise
from fedbus.wire.messages import TrainTask
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.compressed_update import keeps_residual
from fedbus_edge_agent.training.errors import contain_exits
from fedbus_edge_agent.training.local_strategy import StrategyPlugins
from fedbus_edge_agent.training.outbox import Outbox
from fedbus_edge_agent.training.own_state import OwnStates
from fedbus_edge_agent.training.private_offer import private_training
from fedbus_edge_agent.training.task_strategy import TaskStrategy, start_of


class StrategyLoader:
    """Starts strategies with this agent's plug-ins; `noise` makes the source for a private task."""

    def __init__(
        self, plugins: StrategyPlugins, outbox: Outbox, noise: Callable[[], SecretNoise]
    ) -> None:
        self.plugins = plugins
        self._outbox = outbox
        self._noise = noise

    def start(
        self,
        task: TrainTask,
        layout: Layout,
        weights: Weights,
        state: Blob | None,
        control: TaskControl,
    ) -> TaskStrategy:
        """Load the strategy's plug-ins and this agent's arrays, and return what a training needs.

        Raises:
            FedbusError: A plug-in is missing or fails, or there is no room for the arrays.
        """
        with contain_exits():
            parts = self.plugins.load(task.params, task.privacy)

        def kept(states: OwnStates) -> NDArray[np.float32] | None:
            array, events = states.begin(task, layout)
            control.notes.extend(events)
            return array

        own = kept(self._outbox.own_states) if parts.keeper is not None else None
        residual = kept(self._outbox.residuals) if keeps_residual(task) else None
        start = start_of(task, layout, weights, own, state)
        private = private_training(task, self._noise())
        return TaskStrategy(parts, start, layout, task.sections, private, residual)
