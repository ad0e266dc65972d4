"""Public topics that a node follows for a while, such as the identity of another agent. Pure."""

from collections.abc import Iterator

from fedbus.core.actions import Follow, Unfollow
from fedbus.runtime.effects import Subscribe, Unsubscribe
from fedbus.wire import topic_names


class FollowedTopics:
    """The names of the topics, to be subscribed to on every connection."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._names: dict[str, None] = {}

    @property
    def names(self) -> list[str]:
        """The names, the first one that was followed first."""
        return [*self._names]

    def perform(self, action: Follow | Unfollow) -> Iterator[Subscribe | Unsubscribe]:
        """Follow a topic, again if it is followed already, or end that."""
        name = topic_names.address(self._root, action.topic, **action.levels)
        if isinstance(action, Follow):
            self._names[name] = None
            yield Subscribe(name)
        elif name in self._names:
            del self._names[name]
            yield Unsubscribe(name)
