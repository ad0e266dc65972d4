"""What the demo trains is described truthfully, and is what the examples show."""

from pathlib import Path

from fedbus import demo_data
from fedbus.digests import digest_of
from fedbus.wire import codec
from fedbus.wire.jobfile import params, parse
from fedbus.wire.states import ModelCard

EXAMPLES = Path(__file__).parents[2] / "examples" / "digits"


def test_the_card_names_the_tflite_file_by_its_digest() -> None:
    """A rebuilt file without its card would never arrive."""
    card, file = (
        codec.from_json(ModelCard, demo_data.read("model.json")),
        demo_data.read("digits.tflite"),
    )
    assert card.model == "digits"
    assert card.structures["tflite"]["blob"] == {
        "digest": digest_of(file),
        "size": len(file),
    }


def test_the_demos_job_is_the_examples_job() -> None:
    """A person who edits the one starts from the other."""
    job = parse(demo_data.read("job.json"))
    assert demo_data.read("job.json") == (EXAMPLES / "job.json").read_bytes()
    assert job.model_name == "digits"
    assert params(job).learning_rate == 0.2
