"""Access rules: what each node may publish and receive, derived from the topic table."""

from collections.abc import Iterator
from typing import Literal

from fedbus.wire.identifiers import role_of
from fedbus.wire.topic_names import address, matches, wildcard
from fedbus.wire.topics import BLOBS, HEARTBEAT, NODE_IDENTITY, NODE_STATE, PUBLIC, ROOT

Access = Literal["read", "write"]


def access_rules(node: str, root: str = ROOT) -> Iterator[tuple[Access, str]]:
    """Yield what a node may write and read, as the broker is configured."""
    role = role_of(node)
    for tree in ("link", "nodes", "blobs"):
        yield "write", f"{root}/{tree}/{node}/#"
    yield "read", f"{root}/link/+/{node}/#"
    if role not in NODE_STATE.readers:
        # It reads its own state: the state of another process with its name would appear there.
        yield "read", address(root, NODE_STATE, node=node)
    own = (NODE_STATE, NODE_IDENTITY, HEARTBEAT, BLOBS)
    for topic in PUBLIC:
        if role in topic.writers and topic not in own:
            yield "write", wildcard(root, topic)
        if role in topic.readers:
            yield "read", wildcard(root, topic)


def is_allowed(node: str, access: Access, topic: str, root: str = ROOT) -> bool:
    """Return whether the access rules allow a node to publish to, or receive from, a topic."""
    return any(
        rule == access and matches(pattern, topic) for rule, pattern in access_rules(node, root)
    )
