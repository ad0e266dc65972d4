"""Subscriptions of a node: those of its core, and public topics that it follows for a while. Pure.

A core follows, for example, the identity of another agent.
"""

from collections.abc import Iterator, Sequence

from fedbus.core.actions import Follow, Unfollow
from fedbus.runtime.effects import Subscribe, Unsubscribe
from fedbus.runtime.identity import Identity
from fedbus.wire import topic_names, topics
from fedbus.wire.topics import Topic


class NodeSubscriptions:
    """The names of the topics; `listens` are the public topics that the core always receives."""

    def __init__(self, identity: Identity, listens: Sequence[Topic]) -> None:
        root, name = identity.root, identity.name
        self._root = root
        wanted = [topic for topic in listens if not topic.kept]
        names = [topic_names.wildcard(root, topic) for topic in wanted]
        if topics.NODE_STATE not in wanted:
            names.append(topic_names.address(root, topics.NODE_STATE, node=name))
        # Replicas of the inference service share its requests: each goes to one of them.
        shared = topic_names.wildcard(root, topics.INFERENCE)
        listened = [f"$share/inference/{topic}" if topic == shared else topic for topic in names]
        self._listened = [f"{root}/link/+/{name}/+", *listened]
        self._followed: dict[str, None] = {}
        self.kept = [topic_names.wildcard(root, topic) for topic in listens if topic.kept]
        """The topics whose messages the broker keeps while the node is disconnected."""

    @property
    def names(self) -> list[str]:
        """The topics to subscribe to on every connection; followed ones last, oldest first."""
        return [*self._listened, *self._followed]

    def perform(self, action: Follow | Unfollow) -> Iterator[Subscribe | Unsubscribe]:
        """Follow a topic, again if it is followed already, or end that."""
        name = topic_names.address(self._root, action.topic, **action.levels)
        if isinstance(action, Follow):
            self._followed[name] = None
            yield Subscribe(name)
        elif name in self._followed:
            del self._followed[name]
            yield Unsubscribe(name)
