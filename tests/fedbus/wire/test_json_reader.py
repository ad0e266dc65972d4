"""JSON as editors, shells and other programs leave it: one meaning everywhere, or one sentence."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.errors import WireError
from fedbus.jobs import JobFileError, parse
from fedbus.limits import MAX_MESSAGE_BYTES
from fedbus.wire.codec import from_foreign_json, to_json
from fedbus.wire.documents import JobState
from fedbus.wire.json_reader import MAX_DIGITS, read_json
from fedbus_controller.requests.job_files import requested_job
from fedbus_inference.encoding import Encoding, unpack
from tests.fedbus.wire.kinds import example

PLAIN = '{"num_rounds": 1, "x": [0.5]}'

REFUSED = [
    (PLAIN.encode("utf-16"), "expected UTF-8, got UTF-16; save it as UTF-8"),
    (PLAIN.encode("utf-16-le"), "expected UTF-8, got UTF-16; save it as UTF-8"),
    (PLAIN.encode("utf-16-be"), "expected UTF-8, got UTF-16; save it as UTF-8"),
    (PLAIN.encode("utf-32"), "expected UTF-8, got UTF-32; save it as UTF-8"),
    (b'{"x": "gr\xfcn"}', "expected UTF-8, got another byte at 9"),
    (PLAIN.replace('"', "'").encode(), "not JSON at line 1, column 2: Expecting property name"),
    (PLAIN[:-1].encode() + b",}", "not JSON at line 1, column"),
    (PLAIN.encode() + b"\0", "not JSON at line 1, column 30: Extra data"),
    (PLAIN.encode() + b" {}", "not JSON at line 1, column 31: Extra data"),
    (b"", "not JSON at line 1, column 1: Expecting value"),
    (b"[" * 33 + b"]" * 33, "expected at most 32 levels of nesting, got more"),
    (
        b" " * (MAX_MESSAGE_BYTES + 1),
        f"expected at most {MAX_MESSAGE_BYTES} bytes, got {MAX_MESSAGE_BYTES + 1}",
    ),
]

UNUSABLE = [
    (b'{"x": {"a": 1, "a": 2}}', "x.a: given more than once"),
    (b'{"x": [1, NaN]}', "x[1]: NaN, not a finite number"),
    (b'{"x": -Infinity}', "x: -Infinity, not a finite number"),
    (b'{"x": 1e999}', "x: not a finite number"),
    (b'{"x": %b}' % (b"1" * 33), "x: expected at most 32 digits, got 33"),
    (b'{"x": %b}' % (b"1" * 5000), "x: expected at most 32 digits, got 5000"),
]


@pytest.mark.parametrize(("data", "sentence"), REFUSED)
def test_what_is_no_json_is_refused_by_one_sentence_at_every_door(
    data: bytes, sentence: str
) -> None:
    """A file, a job over MQTT or HTTP, a request for inference, and a model over HTTP."""
    for door in (read_json, lambda said: from_foreign_json(JobState, said)):
        with pytest.raises(WireError) as refused:
            door(data)
        assert sentence in str(refused.value)
    with pytest.raises(JobFileError) as job:
        parse(data)
    assert job.value.faults[0].problem.startswith(sentence)
    with pytest.raises(WireError) as request:
        unpack(Encoding.JSON, data)
    assert str(request.value).startswith(f"the payload: {sentence}")
    assert requested_job(data) is None


@pytest.mark.parametrize(("data", "sentence"), UNUSABLE)
def test_a_value_of_no_use_is_refused_by_its_place(data: bytes, sentence: str) -> None:
    """JSON says nothing of them, and every reader makes something else of them."""
    with pytest.raises(WireError) as refused:
        read_json(data)
    assert str(refused.value) == sentence
    with pytest.raises(WireError, match="the payload: "):
        unpack(Encoding.JSON, data)
    key, _, problem = sentence.partition(": ")
    with pytest.raises(JobFileError) as job:
        parse(data)
    assert (key, problem) in {(fault.key, fault.problem) for fault in job.value.faults}


def test_a_message_that_others_wrote_is_read_with_its_mark() -> None:
    """A spec from a person's editor is a spec."""
    state = example(JobState)
    assert from_foreign_json(JobState, b"\xef\xbb\xbf" + to_json(state)) == state


def test_a_lone_value_of_no_use_has_no_place() -> None:
    """It is all there is."""
    with pytest.raises(WireError, match=r"^NaN, not a finite number$"):
        read_json(b"NaN")


@pytest.mark.parametrize("data", [b"\xef\xbb\xbf[1]", b"[1]\r\n", b"\t[1] \n\n", b"[ 1]"])
def test_what_editors_leave_around_json_is_let_be(data: bytes) -> None:
    """A byte order mark, another system's line ends, a newline behind."""
    assert read_json(data) == [1]
    assert unpack(Encoding.JSON, data) == [1]


def test_a_cancel_is_read_by_the_same_rules() -> None:
    """With a byte order mark as well; a key given twice names nothing."""
    assert requested_job(b"\xef\xbb\xbfjob-1\r\n") == "job-1"
    assert requested_job(b'\xef\xbb\xbf"job-1"') == "job-1"
    assert requested_job(b'{"job": "a", "job": "b"}') is None


def test_long_numbers_are_read_where_they_are_numbers_of_use() -> None:
    """Digits in a text, or behind a point, are no whole number beyond measure."""
    digits = "3" * (MAX_DIGITS + 8)
    assert read_json(b'["%b", 0.%b]' % (digits.encode(), digits.encode())) == [
        digits,
        float(f"0.{digits}"),
    ]


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=9,
)


@given(values)
def test_what_json_wrote_is_read_as_it_was(value: object) -> None:
    """Strict does not mean picky."""
    assert read_json(json.dumps(value, ensure_ascii=True).encode()) == value


written = st.lists(
    st.sampled_from(
        [*'[]{},:"01e+-. ', "9" * 16, "null", "NaN", "a", "\\u00", "\\ud800", "\\", "\0"]
    ),
    max_size=12,
).map("".join)


@given(
    written
    | st.lists(st.floats() | st.integers()).map(lambda numbers: json.dumps({"x": numbers}))
    | st.from_regex(r"\A\[-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?\]\Z")
)
def test_numbers_are_read_the_same_by_both_parsers(text: str) -> None:
    """The one in Rust reads what is short and plain; a second name is beyond it."""
    outcomes: list[list[object]] = []
    for data in (text.encode(), f'[{text}, "", ""]'.encode()):
        try:
            outcomes.append([read_json(data)])
        except WireError:
            outcomes.append([])
    plain, careful = outcomes
    match careful:
        case [[value, "", ""]]:
            assert repr(plain) == repr([value])
        case _:
            assert not plain
