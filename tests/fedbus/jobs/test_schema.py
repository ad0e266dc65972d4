"""The description of a job file names every key, as the file spells it."""

import json

from pydantic import BaseModel

from fedbus.jobs import JobFile, schema
from fedbus.jobs.schema import PARTS
from tests.fedbus.jobs.written import SMALLEST


def test_the_schema_names_every_key_as_the_file_spells_it() -> None:
    """The documentation is generated from it."""
    found = schema()
    assert set(found["properties"]) == set(JobFile.names())
    assert found["properties"]["num_rounds"] == {
        "minimum": 1,
        "maximum": 100_000,
        "title": "Num Rounds",
        "type": "integer",
    }
    assert {"training_id", *found["required"]} == set(SMALLEST)
    json.dumps(found)


def test_every_object_of_the_file_is_known_to_the_hints() -> None:
    """An unknown key in any of them finds its neighbours."""
    parts = {model.__name__ for model in PARTS.values()}

    def below(model: type[BaseModel]) -> set[str]:
        found = json.dumps(model.model_json_schema()["$defs"])
        return set(json.loads(found))

    assert parts == below(JobFile) | {"JobFile"}
