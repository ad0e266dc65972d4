"""Signatures of a trainable `.tflite` file. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
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
SET_TERMS: Final = "set_terms"
TERM_STEPS: Final[Mapping[str, str]] = {"train": "train_terms", "train_adam": "train_adam_terms"}
"""Training steps, and their like with a strategy's terms in the gradient."""
TERM_SIGNATURES: Final = frozenset({SET_TERMS, *TERM_STEPS.values()})
"""Optional signatures: a file has those of all its training steps, or none."""
PROXIMAL: Final = "proximal"
HINT: Final = (
    "export it with `fedbus models push package.module:factory`, or write these signatures into it "
    "(docs/frameworks.md says how)"
)


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """An input or output of a signature, as the file describes it.

    Attributes:
        shape: With a batch of 1 where the number of rows is open.
        open_shape: With -1 for each open length; () if the file does not state it.
        scale: Of quantized numbers: a number is `scale * (stored - zero_point)`; 0: not quantized.
        operator: Number of the builtin operator that computes it, behind changes of its dtype or
            shape; -1: none.
    """

    shape: tuple[int, ...]
    dtype: str
    open_shape: tuple[int, ...] = field(default=(), compare=False)
    scale: float = field(default=0.0, compare=False)
    zero_point: int = field(default=0, compare=False)
    operator: int = field(default=-1, compare=False)


@dataclass(frozen=True, slots=True)
class SignatureFacts:
    """Inputs and outputs of a signature, by name.

    Attributes:
        is_steady: No operator's time depends on the numbers in the inputs.
    """

    inputs: Mapping[str, TensorFacts]
    outputs: Mapping[str, TensorFacts]
    is_steady: bool = field(default=True, compare=False)


@dataclass(frozen=True, slots=True)
class TfliteFacts:
    """Facts about a verified file.

    Attributes:
        custom: Operators that are not built into TFLite; those of Select TF begin with Flex.
        bytes: Size of all tensors with a batch of 1: an upper bound of their memory.
        main: Inputs and outputs of the first subgraph by the names of tensors, which a file without
            signatures runs.
    """

    signatures: Mapping[str, SignatureFacts]
    custom: tuple[str, ...]
    bytes: int
    main: SignatureFacts = SignatureFacts({}, {})

    @property
    def trains(self) -> bool:
        """Return whether the file has all signatures of a trainable one."""
        return NEEDED.keys() <= self.signatures.keys()


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
    check_terms(facts.signatures)
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


def check_terms(signatures: Mapping[str, SignatureFacts]) -> None:
    """Raise TrainingError for signatures of a strategy's terms that do not fit the others.

    The others are those that `check_signatures` has found.
    """
    wanted = {SET_TERMS, *(TERM_STEPS[step] for step in TERM_STEPS if step in signatures)}
    present = TERM_SIGNATURES & signatures.keys()
    if not present:
        return
    if present != wanted:
        raise TrainingError(
            f"the .tflite file has the signatures {listed(present)} for a strategy's terms, where "
            f"its training steps need {listed(wanted)}: {HINT}"
        )
    weights, linear = signatures["get_weights"].outputs, signatures[SET_TERMS].inputs
    if names := [n for n in {*weights, *linear} if weights.get(n) != linear.get(n)]:
        raise TrainingError(f"get_weights and {SET_TERMS} differ in {listed(names)}")
    for step, with_terms in TERM_STEPS.items():
        if step not in signatures:
            continue
        plain, termed = signatures[step], signatures[with_terms]
        inputs = {**plain.inputs, PROXIMAL: TensorFacts((), "float32")}
        if inputs != termed.inputs or plain.outputs != termed.outputs:
            raise TrainingError(
                f"the signature {with_terms!r} has other inputs or outputs than {step!r} and the "
                f"input {PROXIMAL}, a float32: {HINT}"
            )


def _format(about: TensorFacts | None) -> str:
    return "not there" if about is None else f"{about.dtype} {about.shape}"
