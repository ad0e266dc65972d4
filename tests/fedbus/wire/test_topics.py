"""The table of addresses: who may say what to whom, where, and who may read it."""

from dataclasses import fields, is_dataclass
from itertools import product
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.errors import WireError
from fedbus.scalars import IDENT
from fedbus.wire import messages, topic_names, topics
from fedbus.wire.access_rules import is_allowed
from fedbus.wire.identifiers import ROLES, is_node
from fedbus.wire.topics import LINKS, PUBLIC, ROOT, Link, Topic
from tests.fedbus.wire.kinds import KINDS

NODES = [f"{role}.{name}" for role in ROLES for name in ("a", "b-2")]
idents = st.from_regex(IDENT, fullmatch=True)


def filled(topic: Topic, node: str = "agent.a") -> str:
    """One address of a public topic."""
    known = {"node": node, "source": node, "round": 3}
    return topic_names.address(ROOT, topic, **{name: known.get(name, "x") for name in topic.levels})


def test_every_message_has_one_link() -> None:
    """Every class that messages exports can be sent, except the parts of others."""
    parts = {
        *("Acceptance", "Configuration", "JobFault", "JobResult", "KeptVersion"),
        *("RoundOutcome", "VersionFacts"),
    }
    exported = {name for name in dir(messages) if is_dataclass(getattr(messages, name))}
    linked = [link.message.__name__ for link in LINKS]
    assert sorted(linked) == sorted(exported - parts)
    assert topic_names.CHUNK_LEVEL not in {link.name for link in LINKS}


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.name)
def test_only_the_roles_in_the_table_say_it_to_each_other(link: Link) -> None:
    """An agent cannot close a round, nor a user commit one, whatever they publish."""
    for sender, receiver in product(ROLES, ROLES):
        names = f"{sender}.a", f"{receiver}.b"
        if sender in link.senders and receiver in link.receivers:
            assert topic_names.link_of(*names, link.name) is link
            address = topic_names.link_topic(ROOT, *names, link.message)
            assert address == f"fedbus/v1/link/{sender}.a/{receiver}.b/{link.name}"
            assert is_allowed(names[0], "write", address)
            assert is_allowed(names[1], "read", address)
        else:
            with pytest.raises(WireError, match=f"{link.name}: no {sender} may send this"):
                topic_names.link_of(*names, link.name)


@pytest.mark.parametrize(
    ("sender", "level"),
    [
        ("agent.a", "no_such_message"),
        ("agent.a", "Offer"),
        ("agent", "offer"),
        ("agent.", "offer"),
        ("agent.-a", "offer"),
        ("agent.a\n", "offer"),
        ("Agent.a", "offer"),
        ("", "offer"),
    ],
)
def test_an_unknown_message_or_sender_is_refused(sender: str, level: str) -> None:
    """Names are checked where they are received, so that no later code need check them."""
    with pytest.raises(WireError, match="no such message or sender"):
        topic_names.link_of(sender, "collector.a", level)


def test_a_node_writes_under_its_own_name_only() -> None:
    """So the address states truly which node sent it."""
    for writer, named, reader in product(NODES, NODES, NODES):
        for address in (
            topic_names.unicast_topic(ROOT, named, reader),
            topic_names.multicast_topic(ROOT, named, "0" * 64),
            filled(topics.NODE_STATE, named),
            filled(topics.NODE_IDENTITY, named),
            filled(topics.HEARTBEAT, named),
        ):
            assert is_allowed(writer, "write", address) == (writer == named)


def test_a_node_reads_what_is_addressed_to_it_and_no_other_mail() -> None:
    """What a collector tells one agent is none of another's business."""
    for sender, receiver, reader in product(NODES, NODES, NODES):
        address = topic_names.unicast_topic(ROOT, sender, receiver)
        assert is_allowed(reader, "read", address) == (reader == receiver)


@pytest.mark.parametrize("topic", PUBLIC, ids=lambda topic: topic.pattern)
def test_a_public_topic_is_written_and_read_by_its_roles(topic: Topic) -> None:
    """As the table says, and the broker is told."""
    for role in ROLES:
        node = f"{role}.a"
        # Every node may write below its own name, used or not.
        own = topic in (topics.NODE_STATE, topics.HEARTBEAT, topics.BLOBS)
        assert is_allowed(node, "write", filled(topic, node)) == (role in topic.writers or own)
        assert is_allowed(node, "read", filled(topic, "agent.z")) == (role in topic.readers)


@given(topic=st.sampled_from(PUBLIC), data=st.data())
def test_an_address_is_read_back_as_it_was_written(topic: Topic, data: st.DataObject) -> None:
    """Levels hold names, and names hold no slash."""
    levels = {name: data.draw(idents) for name in topic.levels}
    address = topic_names.address("a/root", topic, **levels)
    assert topic_names.public_topic("a/root", address) == (topic, levels)
    assert topic_names.matches(topic_names.wildcard("a/root", topic), address)


@pytest.mark.parametrize(
    "address",
    [
        "other/v1/submit",
        "fedbus/v1",
        "fedbus/v1/",
        "fedbus/v10/submit",
        "fedbus/v1/submit/",
        "fedbus/v1/nodes/agent.a",
        "fedbus/v1/nodes/agent.a/else",
        "fedbus/v1/jobs/j/rounds",
        "fedbus/v1/link/agent.a/agent.b/offer",
    ],
)
def test_what_is_none_of_ours_is_not_recognised(address: str) -> None:
    """One level more or less, or another root, is another topic."""
    assert topic_names.public_topic(ROOT, address) is None


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/c", False),
        ("a/b", "a", False),
        ("a/b", "a/b/c", False),
        ("a/+", "a/b", True),
        ("a/+", "a/", True),
        ("a/+", "a", False),
        ("a/+", "a/b/c", False),
        ("+/b", "/b", True),
        ("a/+/c", "a/b/c", True),
        ("#", "a/b/c", True),
        ("a/#", "a/b/c", True),
        ("a/#", "a", True),
        ("a/#", "ab", False),
        ("a/+/#", "a", False),
        ("#", "$SYS/broker", False),
        ("+/broker", "$SYS/broker", False),
        ("$SYS/#", "$SYS/broker", True),
    ],
)
def test_patterns_match_as_mqtt_says(pattern: str, topic: str, expected: bool) -> None:
    """Section 4.7 of the standard, with its examples."""
    assert topic_names.matches(pattern, topic) == expected


@pytest.mark.parametrize(
    ("topic", "closed", "opened"),
    [
        ("fedbus/v1/replies/me", True, True),
        ("fedbus/v1/replies/me/1", False, False),
        ("fedbus/v1/replies", False, False),
        ("fedbus/v1/jobs/j/state", False, False),
        ("fedbus/v1", False, False),
        ("fedbus/v1x/anything", False, True),
        ("my/own/topic", False, True),
        ("my/+/topic", False, False),
        ("my/#", False, False),
        ("fedbus/v1/replies/+", False, False),
        ("nul\0", False, False),
        ("fedbus/v1/replies/a\x07", False, False),
        ("fedbus/v1/replies/" + "x" * 500, False, False),
        ("fedbus/v1/replies/größe", True, True),
        ("$CONTROL/dynamic-security/v1", False, False),
        ("$SYS/x", False, False),
        ("", False, False),
        (None, False, False),
    ],
)
def test_an_answer_goes_only_where_its_asker_may_publish(
    topic: str | None, closed: bool, opened: bool
) -> None:
    """A service may write more than a foreign client, and must not be made to write it for him."""
    why = topic_names.reply_topic_fault(topic, ROOT, open_profile=False)
    assert (why == "") == closed
    assert (topic_names.reply_topic_fault(topic, ROOT, open_profile=True) == "") == opened
    assert closed or "reply topic" in why
    if closed:
        assert is_allowed("controller.1", "write", str(topic))
        assert is_allowed("inference.1", "write", str(topic))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("agent.pi-7", True),
        ("agent.a.b", True),
        ("agent", False),
        ("agent./", False),
        ("x.a", False),
    ],
)
def test_a_node_is_a_role_and_a_name(name: str, expected: bool) -> None:
    """`role.name`, and a name may hold dots."""
    assert is_node(name) == expected


@given(idents)
def test_an_ident_makes_a_node_of_every_role(name: str) -> None:
    """What the job file calls an id will do for a machine, too."""
    assert all(is_node(f"{role}.{name}") for role in ROLES)


@pytest.mark.parametrize(
    ("root", "why"),
    [
        ("fedbus/v1", ""),
        ("werk 1/größe", ""),
        ("a/#", "no wildcards"),
        ("+/v1", "no wildcards"),
        ("a\0", "control characters"),
        ("a\n", "control characters"),
        ("/a", "one / between"),
        ("a/", "one / between"),
        ("a//b", "one / between"),
        ("$SYS/fedbus", "belong to the broker"),
        ("$share/g/a", "belong to the broker"),
        ("x" * 201, "at most 200"),
    ],
)
def test_everything_can_live_under_a_root_of_plain_levels(root: str, why: str) -> None:
    """A root with a wildcard would make every publication fail at the broker."""
    said = topic_names.root_fault(root)
    assert why in said
    assert bool(why) == bool(said)


def parts_of(kind: Any) -> set[type[Any]]:  # noqa: ANN401 - a type form, which no annotation names
    """Return the dataclasses that a type is made of, itself included."""
    inner = set().union(*map(parts_of, get_args(kind)))
    if isinstance(kind, type) and is_dataclass(kind):
        inner.add(kind)
        inner.update(*(parts_of(hint) for hint in get_type_hints(kind).values()))
    return inner


def test_no_message_holds_a_secret_that_its_reader_does_not_need() -> None:
    """A job's secret goes to the controller, which draws with it, and to no other role."""
    words = ("secret", "token", "password", "seed", "credential", "private")
    found = {
        (name, part.__name__, field.name)
        for name, kind in KINDS.items()
        for part in parts_of(kind)
        for field in fields(part)
        if any(word in field.name for word in words)
    }
    assert found == {
        ("JobLoaded", "JobLoaded", "secret"),
        ("TrainTask", "TrainingParams", "seed"),
        ("EvaluateTask", "TrainingParams", "seed"),  # 0: only a training draws
        ("FeatureTask", "TrainingParams", "seed"),  # 0: features are randomized in secret
    }
    readers = {link.message.__name__: link.receivers for link in LINKS}
    assert readers["JobLoaded"] == ("controller",)
    assert readers["TrainTask"] == readers["EvaluateTask"] == ("agent",)


def test_heartbeats_are_for_controllers_alone() -> None:
    """Load and memory tell which agent trains, also in a job that draws its agents in secret."""
    heartbeat = filled(topics.HEARTBEAT, "agent.a")
    allowed = [role for role in ROLES if is_allowed(f"{role}.x", "read", heartbeat)]
    assert allowed == ["controller"]
