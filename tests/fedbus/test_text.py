"""Lists and counts, as sentences have them."""

import pytest

from fedbus.text import counted, in_given_order, listed, without_folders


@pytest.mark.parametrize(("number", "said"), [(0, "0 agents"), (1, "1 agent"), (2, "2 agents")])
def test_one_is_no_plural(number: int, said: str) -> None:
    """`1 agents` stood in every round of a fleet of one."""
    assert counted(number, "agent") == said


@pytest.mark.parametrize(
    ("number", "what", "said"),
    [
        (1, "ledger entry", "1 ledger entry"),
        (2, "ledger entry", "2 ledger entries"),
        (2, "key", "2 keys"),
    ],
)
def test_a_word_that_ends_in_y_has_its_own_plural(number: int, what: str, said: str) -> None:
    """Unless a vowel comes before it."""
    assert counted(number, what) == said


def test_a_list_is_sorted_unless_its_order_means_something() -> None:
    """The names of missing tensors come from a set; those of classes are numbered."""
    assert listed(["w2", "b", "w1"]) == "b, w1, w2"
    assert in_given_order(["w2", "b", "w1"]) == "w2, b, w1"
    assert listed([]) == ""


@pytest.mark.parametrize(
    ("count", "end"), [(12, "n10, n11"), (13, "n11 and 1 more"), (4000, "n11 and 3988 more")]
)
def test_a_long_list_is_cut_and_says_how_many_names_it_leaves_out(count: int, end: str) -> None:
    """A model of 4096 tensors would fill a screen, and every log line about it."""
    text = in_given_order(f"n{number}" for number in range(count))
    assert text.endswith(end)
    assert text.count(",") == 11


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("[Errno 28] full: '/srv/fedbus/home/a.json'", "[Errno 28] full: '…/a.json'"),
        ("delete /var/lib/x-1/ab.using to try it again", "delete …/ab.using to try it again"),
        ("(/onnxruntime_src/core/a.cc:12) failed", "(…/a.cc:12) failed"),
        ("/models/digits/", "…/"),
        ("fedbus/v1/inference and/or 3/4", "fedbus/v1/inference and/or 3/4"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("../up/down and ~/home/x", "../up/down and ~/home/x"),
    ],
)
def test_folders_are_left_out(sentence: str, shown: str) -> None:
    """Those of absolute paths; topics, fractions and addresses stay."""
    assert without_folders(sentence) == shown
