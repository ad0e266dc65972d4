"""Signatures that a `.tflite` file must have for agents and inference to use it. Pure."""

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
"""What each signature of a file that trains must take and give, at the least."""
MEND: Final = (
    "export it with `fedbus models push package.module:factory`, or write these signatures into it "
    "(docs/frameworks.md says how)"
)


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """What a file says about an input or output of a signature."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class SignatureFacts:
    """Inputs and outputs of a signature, by name."""

    inputs: Mapping[str, TensorFacts]
    outputs: Mapping[str, TensorFacts]


@dataclass(frozen=True, slots=True)
class TfliteFacts:
    """What a verified file says of itself.

    Attributes:
        signatures: By key.
        custom: Operators that are no builtin ones of TFLite: Select TF's begin with Flex.
        bytes: Of all tensors together with a batch of 1, the most that are ever held.
    """

    signatures: Mapping[str, SignatureFacts]
    custom: tuple[str, ...]
    bytes: int


def check_signatures(signatures: Mapping[str, tuple[Collection[str], Collection[str]]]) -> None:
    """Refuse a file without the signatures that a trainer calls, given as inputs and outputs.

    Raises:
        TrainingError: names what is missing, and how to mend it.
    """
    if missing := NEEDED.keys() - signatures.keys():
        has = listed(signatures) or "none"
        raise TrainingError(
            f"the .tflite file has no signature {listed(map(repr, missing))}; it has {has}, and "
            f"agents and inference need {listed(NEEDED)}: {MEND}"
        )
    for name, (inputs, outputs) in NEEDED.items():
        has_inputs, has_outputs = signatures[name]
        if lacking := (inputs - {*has_inputs}) | (outputs - {*has_outputs}):
            raise TrainingError(f"the signature {name!r} has no {listed(lacking)}: {MEND}")


def check_trainable(facts: TfliteFacts, layout: Layout | None = None) -> None:
    """Refuse a file that agents and inference cannot use, or whose weights are not the layout's.

    Raises:
        TrainingError: names the signature, the input or the tensor.
    """
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
            f"{_said(in_file)} in the file and {_said(in_spec)} in the layout"
        )


def _said(about: TensorFacts | None) -> str:
    return "not there" if about is None else f"{about.dtype} {about.shape}"
