"""Input and outputs of a model, as its spec states them: lines for people, keys for programs."""

from collections.abc import Iterator
from typing import Any, Final

from fedbus.client.model_inputs import describe_inputs
from fedbus.client.model_outputs import describe_outputs
from fedbus.wire import codec
from fedbus.wire.documents import ModelSpec

SPEC_KEYS: Final = ("input", "preprocessing", "raw_input", "answers", "classes")
"""Keys of a spec that `--json` prints; `range` and `out_of_range` are in `input` or `raw_input`."""


def spec_lines(spec: ModelSpec, *, derived: bool = False) -> Iterator[str]:
    """Format what a model takes and answers, each behind a label of nine columns.

    Args:
        spec: The model's spec.
        derived: Whether the meaning of the outputs was derived from the model, not stated.
    """
    for number, line in enumerate(describe_inputs(spec)):
        yield f"{'' if number else 'input':9}{line}"
    yield f"answers  {describe_outputs(spec, derived=derived)}"


def spec_facts(spec: ModelSpec) -> dict[str, Any]:
    """Return what a model takes and answers, under the keys of its spec."""
    plain = codec.to_plain(spec)
    return {key: plain[key] for key in SPEC_KEYS}
