"""Model of the demo: described correctly, and equal to that of the examples."""

from pathlib import Path

from fedbus import demo_data
from fedbus.digest import digest_of
from fedbus.jobs import parse, training_params_of
from fedbus.wire import codec
from fedbus.wire.documents import ModelSpec

EXAMPLES = Path(__file__).parents[2] / "examples" / "digits"


def test_the_spec_names_the_tflite_file_by_its_digest() -> None:
    """A rebuilt file without its spec would never arrive."""
    spec, file = (
        codec.from_json(ModelSpec, demo_data.read("model.json")),
        demo_data.read("digits.tflite"),
    )
    assert spec.model == "digits"
    assert spec.architectures["tflite"]["blob"] == {
        "digest": digest_of(file),
        "size": len(file),
    }


def test_the_demos_job_is_the_examples_job() -> None:
    """A person who edits the one starts from the other."""
    job = parse(demo_data.read("job.json"))
    assert demo_data.read("job.json") == (EXAMPLES / "job.json").read_bytes()
    assert job.model_name == "digits"
    assert training_params_of(job).learning_rate == 0.2
