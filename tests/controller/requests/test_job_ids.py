"""Ids of jobs whose files have none."""

import re

from fedbus.core.events import ReplyTo
from fedbus.scalars import IDENT
from fedbus.wire.timestamps import format_timestamp
from fedbus_controller.requests.job_files import JobIds

AT = format_timestamp(100.0)


def test_an_id_contains_the_model_and_the_time() -> None:
    """Users read it in lists."""
    job = JobIds().propose("digits", b"file", None, AT).job
    assert re.fullmatch(r"digits-19700101-000140-[0-9a-f]{4}", job)


def test_an_id_follows_from_correlation_data() -> None:
    """Two controllers, or two incarnations of one, compute the same id; no origin is needed."""
    reply = ReplyTo("r", b"7", None)
    first = JobIds().propose("digits", b"file", reply, AT)
    assert first == JobIds().propose("digits", b"file", reply, format_timestamp(500.0))
    assert first.origin is None
    other = JobIds().propose("digits", b"file", ReplyTo("r", b"8", None), AT)
    assert other.job != first.job


def test_an_origin_is_the_reply_topic_and_the_file() -> None:
    """Requests without a reply topic have one origin; the length of the topic counts."""
    ids = JobIds()
    asked = [(None, b"f"), ("r", b"f"), ("r", b"g"), ("rf", b"")]
    found = [
        ids.propose("m", file, None if topic is None else ReplyTo(topic, None, None), AT)
        for topic, file in asked * 2
    ]
    origins = [each.origin for each in found]
    assert origins[:4] == origins[4:]
    assert len({*origins}) == 4
    assert len({each.job for each in found}) == 8


def test_a_made_id_is_one_however_long_the_models_name() -> None:
    """Ids have 64 characters at most."""
    ids = JobIds()
    made = [ids.propose("m" * 64, b"", None, AT).job for _ in range(2)]
    assert len(set(made)) == 2
    assert all(re.fullmatch(IDENT, job) for job in made)
