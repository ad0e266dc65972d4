"""`fedbus models list`, where something about a model is not known."""

import json

import pytest
import typer

from fedbus.cli.commands.models import print_models
from fedbus.client.results import StoredModel
from fedbus.wire.blobs import BlobRef, ModelRef

BLOB = BlobRef(digest="a" * 64, size=10)


def model(name: str, trouble: str = "") -> StoredModel:
    """A stored model without an ε."""
    ref = ModelRef(model=name, version=2, weights=BLOB, spec=BLOB, source="repository.1")
    return StoredModel(ref, None, None, trouble)


@pytest.mark.parametrize("as_json", [False, True])
def test_a_model_of_unknown_epsilon_is_listed_and_named(
    capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    """A script that adds up ε must not take it for a model without one."""
    with pytest.raises(typer.Exit) as ended:
        print_models([model("m"), model("o", "it cannot be read")], as_json=as_json)
    assert ended.value.exit_code == 1
    told = capsys.readouterr()
    assert told.err.strip() == "warning: model o: it cannot be read"
    if as_json:
        assert [each.get("trouble") for each in json.loads(told.out)] == [None, "it cannot be read"]
    else:
        rows = [line.split("\t") for line in told.out.splitlines()]
        assert [(row[0], row[-1]) for row in rows[1:]] == [("m", ""), ("o", "unknown")]


def test_a_list_without_trouble_ends_as_usual(capsys: pytest.CaptureFixture[str]) -> None:
    """And has no column for ε if no model has one."""
    print_models([model("m")], as_json=False)
    assert "EPSILON" not in capsys.readouterr().out
