"""A way of dealing in one word."""

from typing import Any

import pytest

from fedbus.data.partition import SAMPLERS, options_of
from fedbus.data.partition.spec import DEFAULT, READERS, parse_split
from fedbus.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "by", "options"),
    [
        (DEFAULT, "dirichlet", {"alpha": 0.3}),
        ("iid", "iid", {}),
        ("shards:3", "shards", {"shards_per_agent": 3}),
        ("label-quantity:classes-per-agent=4", "label-quantity", {"classes_per_agent": 4}),
        ("mixed:4:alpha=0.1", "mixed", {"non_iid": 4, "alpha": 0.1}),
        ("distribution:size_alpha=2:alpha=1", "distribution", {"size_alpha": 2.0, "alpha": 1.0}),
        ("mixed:1,3", "mixed", {"non_iid": [1, 3]}),
        ("mixed:3,", "mixed", {"non_iid": [3]}),
        ("iid:partition-size=20", "iid", {"partition_size": 20}),
        ("orthogonal:3", "orthogonal", {"institutions": 3}),
        ("orthogonal:0,1;2", "orthogonal", {"institutions": [[0, 1], [2]]}),
        (
            "mixed-label-quantity:2:anchor-classes=1,2:consistent=3:keep-anchor=1",
            "mixed-label-quantity",
            {"classes_per_agent": 2, "anchor_classes": [1, 2], "consistent": 3, "keep_anchor": 1},
        ),
    ],
)
def test_a_sampler_and_its_options_are_read(text: str, by: str, options: dict[str, Any]) -> None:
    """The first value needs no name."""
    assert parse_split(text) == (by, options)


@pytest.mark.parametrize("by", SAMPLERS)
def test_every_option_of_every_sampler_can_be_said(by: str) -> None:
    """A new option must have a parser."""
    assert parse_split(by) == (by, {})
    assert set(options_of(by)) <= READERS.keys()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no sampler ''; expected all-inclusive, "),
        ("Dirichlet", "no sampler 'Dirichlet'"),
        ("dirichlet:inf", "alpha: expected a number above 0, got 'inf'"),
        ("dirichlet:-1", "alpha: expected a number above 0, got '-1'"),
        ("dirichlet:", "alpha: expected a number above 0, got ''"),
        ("dirichlet:little", "alpha: expected a number above 0, got 'little'"),
        ("dirichlet:beta=1", "dirichlet takes no 'beta=1'; its options: alpha"),
        ("dirichlet:1:alpha=2", "alpha is given twice"),
        ("all-inclusive:1", "all-inclusive takes no '1'; its options: none"),
        (
            "mixed:1,x",
            "non-iid: expected a whole number from 0, or some separated by commas, got '1,x'",
        ),
        ("mixed:-1", "non-iid: expected a whole number from 0"),
        ("orthogonal:0,1;x", "institutions: expected numbers separated by commas, got 'x'"),
    ],
)
def test_what_no_sampler_takes_is_refused_with_what_it_takes(text: str, sentence: str) -> None:
    """The whole word comes first, so that a long command line is mended quickly."""
    with pytest.raises(SettingsError) as refused:
        parse_split(text)
    assert str(refused.value).startswith(f"split {text!r}: ")
    assert sentence in str(refused.value)
