"""Names of topics: built, parsed and validated."""

import re
import unicodedata
from functools import lru_cache
from typing import Any

from fedbus.errors import WireError
from fedbus.wire.identifiers import is_node, role_of
from fedbus.wire.topics import LINKS, PUBLIC, REPLIES, Link, Topic

MAX_REPLY_TOPIC_CHARACTERS = 512
MAX_ROOT_CHARACTERS = 200

CHUNK_LEVEL = "chunk"
_LINK_BY_NAME = {link.name: link for link in LINKS}
_NAME_BY_KIND = {link.kind: link.name for link in LINKS}
_PUBLIC_LEVELS = [(topic, topic.pattern.split("/")) for topic in PUBLIC]


def link_topic(root: str, sender: str, receiver: str, message: type[Any]) -> str:
    """Return the topic of a message from one node to another."""
    return f"{root}/link/{sender}/{receiver}/{_NAME_BY_KIND[message.__name__]}"


def unicast_topic(root: str, source: str, receiver: str) -> str:
    """Return the topic of chunks that one receiver has requested."""
    return f"{root}/link/{source}/{receiver}/{CHUNK_LEVEL}"


def multicast_topic(root: str, source: str, digest: str) -> str:
    """Return the topic of a blob's multicast."""
    return f"{root}/blobs/{source}/{digest}"


def link_of(sender: str, receiver: str, level: str) -> Link:
    """Return the message that a link topic carries.

    Raises:
        WireError: the message does not exist, or these roles may not send it to each other.
    """
    link = _LINK_BY_NAME.get(level)
    if link is None or not is_node(sender):
        raise WireError(f"link/{sender}/{receiver}/{level}: no such message or sender")
    if role_of(sender) not in link.senders or role_of(receiver) not in link.receivers:
        raise WireError(f"{level}: no {role_of(sender)} may send this to a {role_of(receiver)}")
    return link


def address(root: str, topic: Topic, **levels: object) -> str:
    """Return the name of a public topic with these levels."""
    return f"{root}/{topic.pattern.format(**levels)}"


def wildcard(root: str, topic: Topic) -> str:
    """Return the subscription that matches a public topic for all levels."""
    return f"{root}/{re.sub(r'{[a-z]+}', '+', topic.pattern)}"


def public_topic(root: str, name: str) -> tuple[Topic, dict[str, str]] | None:
    """Parse the name of a public topic into its table row and levels; None: it is not one."""
    if not name.startswith(root + "/"):
        return None
    levels = name[len(root) + 1 :].split("/")
    for topic, pattern in _PUBLIC_LEVELS:
        # The first level is never variable and distinguishes most topics.
        if pattern[0] == levels[0] and len(pattern) == len(levels):
            pairs = list(zip(pattern, levels, strict=True))
            if all(p == level or p.startswith("{") for p, level in pairs):
                return topic, {p[1:-1]: level for p, level in pairs if p.startswith("{")}
    return None


def matches(pattern: str, topic: str) -> bool:
    """Match a topic name against a subscription with `+` and `#` (MQTT 5, section 4.7)."""
    if topic.startswith("$") and pattern[0] in "+#":
        return False
    wanted, given = pattern.split("/"), topic.split("/")
    for i, level in enumerate(wanted):
        if level == "#":
            return True
        if i >= len(given) or level not in ("+", given[i]):
            return False
    return len(wanted) == len(given)


def root_fault(root: str) -> str:
    """Return what is wrong with a root topic; empty: nothing."""
    if root.startswith("$"):
        return "expected another first character: topics that begin with $ belong to the broker"
    if len(root) > MAX_ROOT_CHARACTERS:
        return f"expected at most {MAX_ROOT_CHARACTERS} characters, got {len(root)}"
    if set(root) & set("+#") or not _is_printable(root):
        return "expected no wildcards and control characters, as in fedbus/v1"
    if any(not level for level in root.split("/")):
        return "expected levels with one / between them, as in fedbus/v1"
    return ""


@lru_cache(maxsize=8)
def _reply_topics(root: str) -> str:
    return wildcard(root, REPLIES)


def _is_printable(text: str) -> bool:
    return all(unicodedata.category(letter) not in {"Cc", "Cn", "Cs"} for letter in text)


def reply_topic_fault(response_topic: str | None, root: str, *, open_profile: bool) -> str:
    """Return why no reply may be published to a response topic; empty: it may.

    Without this check a client could make a service publish where the client itself may not, or
    what the broker disconnects the service for. `open_profile` also allows topics outside `root`.
    """
    form = _reply_topics(root)
    place = f"name one of the form {form[:-1]}NAME, without a further /"
    if not response_topic:
        return f"no reply topic (MQTT 3.1.1 has none): use MQTT 5 and {place}"
    shown = ascii(response_topic[:80])
    if len(response_topic) > MAX_REPLY_TOPIC_CHARACTERS:
        return f"the reply topic {shown} … is longer than {MAX_REPLY_TOPIC_CHARACTERS} characters"
    plain = response_topic.isascii() and response_topic.isprintable()  # as nearly always
    if set(response_topic) & set("+#") or not (plain or _is_printable(response_topic)):
        return f"the reply topic {shown} has a wildcard or a control character; {place}"
    if matches(form, response_topic):
        return ""
    ours = response_topic.startswith("$") or (response_topic + "/").startswith(root + "/")
    if open_profile and not ours:
        return ""
    return f"the reply topic {shown} is elsewhere; {place}"
