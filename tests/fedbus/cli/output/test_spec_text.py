"""Lines and keys that `fedbus models show` and `push` print of a model's spec."""

from fedbus.cli.output.spec_text import SPEC_KEYS, spec_facts, spec_lines
from fedbus.wire.documents import ModelSpec

STEPS = ({"id": "normalize", "parameters": {"high": 16}},)
RAW = {"shape": [2], "range": [0, 16], "out_of_range": "warn"}
SPEC = ModelSpec(
    model="m",
    layout=(),
    architectures={},
    input={"shape": [2], "dtype": "float32"},
    preprocessing=STEPS,
    raw_input=RAW,
    answers="labels",
    classes=("fall", "walk"),
)


def test_input_and_outputs_stand_behind_labels() -> None:
    """So that a user sees what to send, what is done with it, and what each number means."""
    assert list(spec_lines(SPEC)) == [
        "input    [2] float32, 0 to 16; inference answers other numbers with a warning",
        '         then normalize {"high": 16}',
        "         then [2] float32",
        "answers  labels: fall, walk",
    ]


def test_programs_get_the_keys_of_the_spec() -> None:
    """Under the names that the spec has, all names of labels included."""
    names = tuple(f"label {number}" for number in range(30))
    many = ModelSpec(model="m", layout=(), architectures={}, answers="labels", classes=names)
    assert spec_facts(SPEC) == {
        "input": {"shape": [2], "dtype": "float32"},
        "preprocessing": list(STEPS),
        "raw_input": RAW,
        "answers": "labels",
        "classes": ["fall", "walk"],
    }
    assert spec_facts(many)["classes"] == list(names)
    assert tuple(spec_facts(many)) == SPEC_KEYS
