"""Start of a task's strategy at the agent: its plug-ins, the arrays that it keeps, its noise."""

from collections.abc import Callable

from fedbus.model.blob_header import Blob
from fedbus.model.layout import Layout, Weights
from fedbus.plugins import SecretNoise
from fedbus.wire.messages import TrainTask
from fedbus_edge_agent.training.cancellation import TaskControl
from fedbus_edge_agent.training.errors import contain_exits
from fedbus_edge_agent.training.local_strategy import StrategyPlugins
from fedbus_edge_agent.training.own_state import OwnStates
from fedbus_edge_agent.training.private_offer import private_training
from fedbus_edge_agent.training.task_strategy import TaskStrategy, start_of


class StrategyLoader:
    """Starts strategies with this agent's plug-ins; `noise` makes the source for a private task."""

    def __init__(
        self, plugins: StrategyPlugins, own_states: OwnStates, noise: Callable[[], SecretNoise]
    ) -> None:
        self.plugins = plugins
        self._own_states = own_states
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
        own, reason = None, ""
        if parts.keeper is not None:
            if removed := self._own_states.make_room(task.job):
                control.notes.append(("own_state_removed", removed))
            own, reason = self._own_states.load(task, layout)
        if reason:
            control.notes.append(("own_state_reset", reason))
        start = start_of(task, layout, weights, own, state)
        private = private_training(task, self._noise())
        return TaskStrategy(parts, start, layout, task.sections, private)
