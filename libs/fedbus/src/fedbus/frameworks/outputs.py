"""Meaning of a model's outputs, derived at the push, and what a reply adds to them. Pure.

A model spec's `answers` is one of

    classes          a score for each of several classes of which one is right
    probabilities    the probability of each of those classes, or, alone, that of "yes"
    logits           one score of "yes": a sigmoid makes its probability
    labels           of each of several labels, whether it is there: a score, or its probability
    values           quantities, as in a regression or a reconstruction

Inference returns the framework's outputs unchanged, with one exception: where the spec says
probabilities and the model ends in scores, inference normalizes them, so that all frameworks of one
spec return the same. A reply also has what follows from the outputs: `probabilities`, and the class
or the labels that they name.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, get_args

import numpy as np

from fedbus.errors import SettingsError
from fedbus.model.layout import Array
from fedbus.text import in_given_order, listed
from fedbus.training.options.metric_kinds import QUANTITIES
from fedbus.wire.output_kinds import OutputKind

OutputActivation = Literal["softmax", "sigmoid", "scores"]
"""The model's last operation; `scores` is any other than these two."""

ANSWERS: Final[tuple[OutputKind, ...]] = get_args(OutputKind)
MEANINGS: Final[Mapping[OutputKind, str]] = {
    "classes": "a score for each class, of which one is right",
    "probabilities": "the probability of each class, or of yes",
    "logits": "the score of yes",
    "labels": "yes or no for each label",
    "values": "quantities",
}
_CLASS_LOSSES: Final = frozenset({
    "categorical_crossentropy", "sparse_categorical_crossentropy", "cross_entropy",
    "categorical_focal_crossentropy", "categorical_hinge", "kl_divergence",
})  # fmt: skip
_BINARY_LOSSES: Final = frozenset({
    "binary_crossentropy", "binary_focal_crossentropy", "hinge", "squared_hinge",
})  # fmt: skip
_YES: Final = 0.5
_YES_AND_NO: Final = 2


def derive_answers(
    activation: OutputActivation,
    output: Sequence[int | None],
    row: Sequence[int | None] | None,
    loss: str | None,
) -> OutputKind:
    """Derive what outputs mean from the declared loss, or without one from the last operation.

    Args:
        activation: Its last operation.
        output: The shape of its output for one row.
        row: The shape of a row of its inputs; None if unknown.
        loss: The loss that the model declares, by the job file's name; None if it declares none.
    """
    one = all(size == 1 for size in output)
    if loss is not None:
        return _by_loss(activation, loss, one=one)
    if row is not None and tuple(output) == tuple(row):  # a reconstruction
        return "values"
    if activation == "scores":
        return "classes" if len(output) == 1 and not one else "values"
    return "probabilities" if one or activation == "softmax" else "labels"


def _by_loss(activation: OutputActivation, loss: str, *, one: bool) -> OutputKind:
    if loss in _CLASS_LOSSES and not one:
        return "probabilities" if activation == "softmax" else "classes"
    if loss not in _BINARY_LOSSES:
        return "values"
    if one:
        return "probabilities" if activation == "sigmoid" else "logits"
    return "labels"


def loss_contradiction(answers: OutputKind | None, loss: str) -> str:
    """Return how a job's loss contradicts the meaning of a model's outputs; empty if it does not.

    Checked when a job is submitted, since the loss of a PyTorch model is not known before.
    """
    if loss in _CLASS_LOSSES and answers in {"labels", "logits", "values"}:
        meant, push = "classes of which one is right", "classes"
    elif loss in _BINARY_LOSSES and answers in {"classes", "values"}:
        meant, push = "yes or no for each output", "labels (of one output: logits)"
    elif loss in QUANTITIES and answers in {"classes", "logits"}:
        meant, push = "quantities", "values"
    else:
        return ""
    return (
        f"eval_func {loss} trains {meant}, and the model is said to answer {answers}, which "
        f"inference goes by: a loss of {answers} is {matching_loss(answers)}; if {loss} is right, "
        f"push the model with --answers {push}"
    )


def matching_loss(answers: OutputKind | None) -> str:
    """Return the job file's name of a loss that fits the meaning of a model's outputs."""
    if answers == "values":
        return "mse (or mae, huber)"
    return "binary_crossentropy" if answers in {"labels", "logits"} else "categorical_crossentropy"


def check_classes(
    answers: OutputKind | None, classes: Sequence[str], output: Sequence[int]
) -> None:
    """Reject class names that do not fit a model's outputs.

    Args:
        answers: What the model answers.
        classes: The names, in the order of the outputs.
        output: The shape of the model's output for one row; () where it is not known.

    Raises:
        SettingsError: The model answers values, two names are equal, or their number is wrong.
    """
    if not classes:
        return
    if answers == "values":
        raise SettingsError("--classes: the model answers values, which are no classes")
    twice = sorted({name for name in classes if classes.count(name) > 1})
    if twice:
        raise SettingsError(f"--classes: {in_given_order(twice)} is given twice; names must differ")
    if output and answers is not None:
        yes_or_no = answers != "labels" and output[-1] == 1
        wanted = _YES_AND_NO if yes_or_no else output[-1]
        if len(classes) != wanted:
            what = "one output, no or yes" if yes_or_no else f"{output[-1]} outputs"
            raise SettingsError(
                f"--classes: {len(classes)} names, and the model has {what}: {wanted} are needed, "
                "in the order of the outputs"
            )


def check_answers(answer: str, output: Sequence[int]) -> OutputKind:
    """Validate the meaning of outputs that a user gives with `--answers`.

    Raises:
        SettingsError: The word is unknown, or does not fit the number of outputs.
    """
    known = next((word for word in ANSWERS if word == answer), None)
    if known is None:
        raise SettingsError(f"--answers: {answer!r}; a model answers one of {listed(ANSWERS)}")
    if output and known == "logits" and output[-1] != 1:
        raise SettingsError(
            f"--answers: logits is one score of yes, and the model has {output[-1]} outputs; say "
            "classes where one of them is right, labels where each is yes or no"
        )
    if output and known == "classes" and output[-1] == 1:
        raise SettingsError(
            "--answers: classes needs two outputs or more, and the model has one; say logits for "
            "the score of yes, probabilities for its probability, values for a quantity"
        )
    return known


def to_probabilities(
    outputs: Array, answers: OutputKind | None, activation: OutputActivation | None
) -> Array:
    """Convert scores to probabilities if the spec says that the model answers probabilities."""
    if answers == "probabilities" and activation == "scores":
        return _sigmoid(outputs) if _is_single(outputs) else _softmax(outputs)
    return outputs


def derived_outputs(
    outputs: Array,
    answers: OutputKind | None,
    activation: OutputActivation | None,
    classes: Sequence[str] = (),
) -> dict[str, Any]:
    """Compute what follows from outputs: `probabilities` of scores, and names of classes or labels.

    Args:
        outputs: (rows, …), as `to_probabilities` returns them.
        answers: What they mean; None and values add nothing.
        activation: The model's last operation; None is unknown, and is taken for scores.
        classes: The names of classes or labels; without them they are called by their number.
    """
    if answers is None or answers == "values" or not outputs.size:
        return {}
    found: dict[str, Any] = {}
    single = answers != "labels" and _is_single(outputs)
    likely = outputs
    if answers in {"labels", "logits"}:
        likely = outputs if activation == "sigmoid" else _sigmoid(outputs)
    elif answers == "classes":
        likely = outputs if activation == "softmax" else _softmax(outputs)
    if likely is not outputs:
        found["probabilities"] = likely
    if answers == "labels":
        rows = likely.reshape(len(likely), -1) >= _YES
        found["labels"] = [[_name(i, classes) for i in np.flatnonzero(row)] for row in rows]
    else:
        best = likely.reshape(len(likely), -1)[:, 0] >= _YES if single else likely.argmax(axis=-1)
        found["classes"] = _names(best, classes)
    return found


def _is_single(outputs: Array) -> bool:
    return outputs.ndim == 1 or outputs.shape[-1] == 1


def _names(numbers: Array, classes: Sequence[str]) -> Any:  # noqa: ANN401 - nested lists
    if numbers.ndim > 1:
        return [_names(each, classes) for each in numbers]
    return [_name(number, classes) for number in numbers]


def _name(number: Any, classes: Sequence[str]) -> str | int:  # noqa: ANN401 - a number of numpy
    at = int(number)
    return classes[at] if at < len(classes) else at


def _softmax(scores: Array) -> Array:
    wide = scores.astype(np.promote_types(scores.dtype, np.float32), copy=False)
    powers = np.exp(wide - wide.max(axis=-1, keepdims=True))
    made: Array = powers / powers.sum(axis=-1, keepdims=True)
    return made


def _sigmoid(scores: Array) -> Array:
    wide = scores.astype(np.promote_types(scores.dtype, np.float32), copy=False)
    small = np.exp(-np.abs(wide))  # at most 1, so nothing overflows
    made: Array = np.where(wide >= 0, 1, small) / (1 + small)
    return made
