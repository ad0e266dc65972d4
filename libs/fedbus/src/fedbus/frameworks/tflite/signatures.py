"""Signatures of a trainable `.tflite` file. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from fedbus.errors import TrainingError
from fedbus.model.layout import Layout
from fedbus.text import listed

NEEDED: Final[Mapping[str, tuple[frozenset[str], frozenset[str]]]] = {
    "train": (frozenset({"x", "y", "learning_rate"}), frozenset({"loss"})),
    "infer": (frozenset({"x"}), frozenset({"outputs"})),
    "get_weights": (frozenset(), frozenset()),
    "set_weights": (frozenset(), frozenset()),
}
"""Inputs and outputs that each signature of a trainable file must have."""
HINT: Final = (
    "export it with `fedbus models push package.module:factory`, or write these signatures into it "
    "(docs/frameworks.md says how)"
)


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """An input or output of a signature, as the file describes it."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class SignatureFacts:
    """Inputs and outputs of a signature, by name."""

    inputs: Mapping[str, TensorFacts]
    outputs: Mapping[str, TensorFacts]


@dataclass(frozen=True, slots=True)
class TfliteFacts:
    """Facts about a verified file.

    Attributes:
        custom: Operators that are not built into TFLite; those of Select TF begin with Flex.
        bytes: Size of all tensors with a batch of 1: an upper bound of their memory.
    """

    signatures: Mapping[str, SignatureFacts]
    custom: tuple[str, ...]
    bytes: int


def check_signatures(signatures: Mapping[str, tuple[Collection[str], Collection[str]]]) -> None:
    """Raise TrainingError for a file without the inputs and outputs that a trainer calls."""
    if missing := NEEDED.keys() - signatures.keys():
        has = listed(signatures) or "none"
        raise TrainingError(
            f"the .tflite file has no signature {listed(map(repr, missing))}; it has {has}, and "
            f"agents and inference need {listed(NEEDED)}: {HINT}"
        )
    for name, (inputs, outputs) in NEEDED.items():
        has_inputs, has_outputs = signatures[name]
        if lacking := (inputs - {*has_inputs}) | (outputs - {*has_outputs}):
            raise TrainingError(f"the signature {name!r} has no {listed(lacking)}: {HINT}")


def check_trainable(facts: TfliteFacts, layout: Layout | None = None) -> None:
    """Raise TrainingError for a file that cannot train, or has weights unlike the layout's."""
    check_signatures({key: (s.inputs, s.outputs) for key, s in facts.signatures.items()})
    given = facts.signatures["get_weights"].outputs
    taken = facts.signatures["set_weights"].inputs
    if given != taken:
        names = [name for name in {*given, *taken} if given.get(name) != taken.get(name)]
        raise TrainingError(f"get_weights and set_weights differ in {listed(names)}")
    if layout is None:
        return
    wanted = {t.name: TensorFacts(t.shape, t.dtype) for t in layout.tensors}
    here = {name.replace("__", "."): about for name, about in given.items()}
    if odd := [name for name in {*wanted, *here} if wanted.get(name) != here.get(name)]:
        name = min(odd)
        in_file, in_spec = here.get(name), wanted.get(name)
        raise TrainingError(
            f"the weights of the .tflite file are not those of the spec's layout: {name!r} is "
            f"{_format(in_file)} in the file and {_format(in_spec)} in the layout"
        )


def _format(about: TensorFacts | None) -> str:
    return "not there" if about is None else f"{about.dtype} {about.shape}"
