"""Options of a model on the command line."""

import json
from pathlib import Path

import pytest

from fedbus.cli.inputs.model_options import read_classes, read_config, read_shape
from fedbus.errors import SettingsError

CONFIG = {"layers": [64, 10]}


def test_classes_are_named_on_the_line_or_in_a_file(tmp_path: Path) -> None:
    """One a line there, whatever commas they have."""
    file = tmp_path / "names.txt"
    file.write_text("cat, small\n dog \n\n")
    assert read_classes(None) == ()
    assert read_classes("cat, dog") == ("cat", "dog")
    many = tuple(f"class {number}" for number in range(1000))
    assert read_classes(",".join(many)) == many
    assert read_classes(str(file)) == ("cat, small", "dog")
    for wrong, sentence in (
        ("cat,,dog", "name 2 is empty"),
        ("x" * 257, "name 1 is 257 characters long"),
        ("", "expected at least one name"),
    ):
        with pytest.raises(SettingsError, match=sentence):
            read_classes(wrong)
    file.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(SettingsError, match=r"names\.txt"):
        read_classes(str(file))


def test_a_config_is_a_json_object() -> None:
    """Or there is none."""
    assert read_config(None) is None
    assert read_config(json.dumps(CONFIG)) == CONFIG
    with pytest.raises(SettingsError, match="not JSON"):
        read_config("{")
    with pytest.raises(SettingsError, match="expected a JSON object, got list"):
        read_config("[]")


def test_a_shape_is_sizes_with_commas_between_them() -> None:
    """Each at least 1."""
    assert read_shape(None) is None
    assert read_shape("64") == (64,)
    assert read_shape(" 1, 4,4") == (1, 4, 4)
    for given in ("", "8x8", "8,,8", "-1", "0", "1,1,1,1,1,1,1,1,1"):
        with pytest.raises(SettingsError, match=r"--input: .*28,28,1"):
            read_shape(given)
