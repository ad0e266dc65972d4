"""One notation for the versions of a model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbus.errors import WireError
from fedbus.scalars import IDENT
from fedbus.wire.version_choice import (
    VersionChoice,
    parse_version_choice,
    version_name_fault,
)

idents = st.from_regex(rf"\A{IDENT}\Z")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("digits", VersionChoice(model="digits")),
        ("digits@latest", VersionChoice(model="digits")),
        ("digits@3", VersionChoice(model="digits", version=3)),
        ("digits@production", VersionChoice(model="digits", name="production")),
        ("my.net-2@v1.0", VersionChoice(model="my.net-2", name="v1.0")),
    ],
)
def test_a_version_is_one_word(word: str, expected: VersionChoice) -> None:
    """A number, an alias, a tag, or the latest."""
    assert parse_version_choice(word) == expected


@given(model=idents, name=idents.filter(lambda name: version_name_fault(name) is None))
def test_what_is_formatted_is_parsed_back(model: str, name: str) -> None:
    """Whatever the names are, if they can be names."""
    for choice in (
        VersionChoice(model=model),
        VersionChoice(model=model, version=len(name)),
        VersionChoice(model=model, name=name),
    ):
        assert parse_version_choice(str(choice)) == choice


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("", "'' is no model's name"),
        ("@3", "'' is no model's name"),
        ("a b@3", "'a b' is no model's name"),
        ("digits@", "'' is no version of model 'digits'"),
        ("digits@a@b", "'a@b' is no version of model 'digits'"),
        ("digits@0", "'0' is no version of a model: they count from 1"),
        ("digits@007", "'007' is no version of a model"),
        ("digits@1234567890123456", "they count from 1"),
        ("digits@²", "is no version of model 'digits'"),
    ],
)
def test_another_word_is_refused(word: str, reason: str) -> None:
    """With the part that is wrong."""
    with pytest.raises(WireError, match="is no") as caught:
        parse_version_choice(word)
    assert reason in str(caught.value)
