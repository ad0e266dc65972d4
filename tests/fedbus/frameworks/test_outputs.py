"""Meaning of outputs, from a model's loss and last layer, and what a reply adds."""

from typing import Any

import numpy as np
import pytest

from fedbus.errors import SettingsError
from fedbus.frameworks.outputs import (
    ANSWERS,
    MEANINGS,
    OutputActivation,
    check_answers,
    check_classes,
    derive_answers,
    derived_outputs,
    loss_contradiction,
    to_probabilities,
)
from fedbus.wire.output_kinds import OutputKind

SCORES = np.array([[2.0, -1.0, 0.0], [0.0, 0.0, 3.0]], np.float32)
LIKELY = np.exp(SCORES) / np.exp(SCORES).sum(axis=1, keepdims=True)
SIGMOID = 1 / (1 + np.exp(-SCORES))


@pytest.mark.parametrize(
    ("activation", "output", "loss", "answers"),
    [
        ("scores", (10,), "categorical_crossentropy", "classes"),
        ("softmax", (10,), "sparse_categorical_crossentropy", "probabilities"),
        ("scores", (7, 10), "cross_entropy", "classes"),
        ("scores", (1,), "binary_crossentropy", "logits"),
        ("sigmoid", (1,), "binary_crossentropy", "probabilities"),
        ("scores", (3,), "binary_crossentropy", "labels"),
        ("sigmoid", (3,), "binary_focal_crossentropy", "labels"),
        ("scores", (1,), "hinge", "logits"),
        ("scores", (1,), "mse", "values"),
        ("scores", (3,), "mae", "values"),
        ("sigmoid", (3,), "huber", "values"),
        ("softmax", (3,), "my_own_loss", "values"),
        ("scores", (1,), "categorical_crossentropy", "values"),  # of one output it says nothing
        ("softmax", (10,), None, "probabilities"),
        ("softmax", (None, 10), None, "probabilities"),
        ("scores", (10,), None, "classes"),
        ("scores", (1,), None, "values"),
        ("scores", (), None, "values"),
        ("scores", (7, 10), None, "values"),
        ("sigmoid", (1,), None, "probabilities"),
        ("sigmoid", (), None, "probabilities"),
        ("sigmoid", (4,), None, "labels"),
        ("sigmoid", (64,), None, "values"),  # as large as a row: a reconstruction
        ("scores", (64,), None, "values"),
    ],
)
def test_loss_and_last_layer_say_what_a_model_answers(
    activation: OutputActivation,
    output: tuple[int | None, ...],
    loss: str | None,
    answers: OutputKind,
) -> None:
    """The declared loss first; without one, nothing is taken for classes that need not be."""
    assert derive_answers(activation, output, (64,), loss) == answers


def test_an_output_without_a_known_input_is_no_reconstruction() -> None:
    """Only the last layer decides."""
    assert derive_answers("sigmoid", (64,), None, None) == "labels"
    assert derive_answers("scores", (64,), None, None) == "classes"


def test_every_word_has_a_meaning() -> None:
    """For the help and for `models show`."""
    assert set(MEANINGS) == set(ANSWERS)


@pytest.mark.parametrize(
    ("said", "output", "sentence"),
    [
        ("class", (3,), "'class'; a model answers one of classes, labels, logits, probabilities"),
        ("logits", (3,), "the model has 3 outputs; say classes where one of them is right, labels"),
        ("classes", (1,), "the model has one; say logits for the score of yes"),
    ],
)
def test_a_persons_word_must_fit_the_model(
    said: str, output: tuple[int, ...], sentence: str
) -> None:
    """Else inference would put a softmax over one output, or over several labels."""
    with pytest.raises(SettingsError, match=sentence):
        check_answers(said, output)


def test_a_word_that_fits_is_taken() -> None:
    """And any, where the outputs are not known."""
    assert check_answers("labels", (3,)) == "labels"
    assert check_answers("logits", (1,)) == "logits"
    assert check_answers("logits", ()) == "logits"
    assert check_answers("classes", (3,)) == "classes"


@pytest.mark.parametrize(
    ("answers", "classes", "output", "sentence"),
    [
        ("values", ("a", "b"), (2,), "answers values, which are no classes"),
        ("classes", ("a", "a"), (2,), "a is given twice"),
        ("classes", ("a", "b"), (3,), "2 names, and the model has 3 outputs: 3 are needed"),
        ("labels", ("a", "b"), (1,), "2 names, and the model has 1 outputs: 1 are needed"),
        ("logits", ("yes",), (1,), "1 names, and the model has one output, no or yes: 2 are"),
    ],
)
def test_names_of_classes_must_fit_the_outputs(
    answers: OutputKind, classes: tuple[str, ...], output: tuple[int, ...], sentence: str
) -> None:
    """A name too few would call everything by its neighbour's."""
    with pytest.raises(SettingsError, match=sentence):
        check_classes(answers, classes, output)


def test_names_that_fit_are_taken() -> None:
    """None at all, too, and any number where the outputs are not known."""
    check_classes("values", (), (1,))
    check_classes("classes", ("a", "b"), (2,))
    check_classes("probabilities", ("no", "yes"), (1,))
    check_classes("labels", ("a", "b", "c"), (3,))
    check_classes("classes", ("a", "b"), ())
    check_classes(None, ("a", "b"), (3,))


def test_only_probabilities_are_made_of_scores() -> None:
    """Whatever else a model answers stays as it is; so does what ends in a softmax itself."""
    for answers in {*ANSWERS, None} - {"probabilities"}:
        assert to_probabilities(SCORES, answers, "scores") is SCORES
    np.testing.assert_allclose(
        to_probabilities(SCORES, "probabilities", "scores"), LIKELY, rtol=1e-6
    )
    assert to_probabilities(LIKELY, "probabilities", "softmax") is LIKELY
    assert to_probabilities(LIKELY, "probabilities", None) is LIKELY  # a plug-in that does not say
    one = to_probabilities(SCORES[:, :1], "probabilities", "scores")
    np.testing.assert_allclose(one, SIGMOID[:, :1], rtol=1e-6)
    bare = to_probabilities(np.array([0.0, -1e9, 1e9]), "probabilities", "scores")
    assert bare.tolist() == [0.5, 0.0, 1.0]


@pytest.mark.parametrize(
    ("answers", "activation", "outputs", "likely", "named"),
    [
        ("classes", "scores", SCORES, LIKELY, {"classes": [0, 2]}),
        ("classes", None, SCORES, LIKELY, {"classes": [0, 2]}),
        ("classes", "softmax", LIKELY, None, {"classes": [0, 2]}),
        ("probabilities", "softmax", LIKELY, None, {"classes": [0, 2]}),
        ("logits", "scores", SCORES[:, :1], SIGMOID[:, :1], {"classes": [1, 1]}),
        ("logits", "scores", SCORES[:, 1], SIGMOID[:, 1], {"classes": [0, 1]}),
        ("probabilities", "sigmoid", SIGMOID[:, 1:2], None, {"classes": [0, 1]}),
        ("labels", "scores", SCORES, SIGMOID, {"labels": [[0, 2], [0, 1, 2]]}),
        ("labels", "sigmoid", SIGMOID, None, {"labels": [[0, 2], [0, 1, 2]]}),
        ("classes", "scores", SCORES[None], LIKELY[None], {"classes": [[0, 2]]}),
    ],
)
def test_a_reply_says_what_follows_from_outputs(
    answers: OutputKind,
    activation: OutputActivation | None,
    outputs: np.ndarray[Any, Any],
    likely: np.ndarray[Any, Any] | None,
    named: dict[str, Any],
) -> None:
    """Probabilities where the outputs are scores, and the class or the labels."""
    found = derived_outputs(outputs, answers, activation)
    if likely is None:
        assert "probabilities" not in found
    else:
        np.testing.assert_allclose(found.pop("probabilities"), likely, rtol=1e-6)
    assert found == named


def test_classes_are_called_by_their_names() -> None:
    """As the spec has them; a class beyond the names by its number."""
    names = ("cat", "dog", "owl")
    assert derived_outputs(LIKELY, "probabilities", "softmax", names)["classes"] == ["cat", "owl"]
    assert derived_outputs(LIKELY, "probabilities", "softmax", names[:2])["classes"] == ["cat", 2]
    assert derived_outputs(SCORES, "labels", "scores", names)["labels"][0] == ["cat", "owl"]
    yes = derived_outputs(SCORES[:, 1:2], "logits", "scores", ("no", "yes"))
    assert yes["classes"] == ["no", "yes"]


@pytest.mark.parametrize("answers", ["values", None])
def test_of_values_nothing_follows(answers: OutputKind | None) -> None:
    """A quantity is no certainty."""
    assert derived_outputs(SCORES, answers, "scores") == {}
    assert derived_outputs(SCORES[:0], "classes", "scores") == {}


@pytest.mark.parametrize(
    ("answers", "loss", "push", "fits"),
    [
        (
            "classes",
            "binary_crossentropy",
            "labels (of one output: logits)",
            "categorical_crossentropy",
        ),
        ("values", "binary_crossentropy", "labels (of one output: logits)", "mse (or mae, huber)"),
        ("values", "cross_entropy", "classes", "mse (or mae, huber)"),
        ("labels", "categorical_crossentropy", "classes", "binary_crossentropy"),
        ("classes", "mse", "values", "categorical_crossentropy"),
        ("logits", "huber", "values", "binary_crossentropy"),
    ],
)
def test_a_job_whose_loss_contradicts_the_model_is_doubted(
    answers: OutputKind, loss: str, push: str, fits: str
) -> None:
    """Inference would put a softmax over what are several labels; the loss is named first."""
    said = loss_contradiction(answers, loss)
    assert f"a loss of {answers} is {fits}; if {loss} is right" in said
    assert said.startswith(f"eval_func {loss} trains ")
    assert said.endswith(f"push the model with --answers {push}")


@pytest.mark.parametrize(
    ("answers", "loss"),
    [
        ("classes", "cross_entropy"),
        ("probabilities", "binary_crossentropy"),
        ("labels", "binary_crossentropy"),
        ("logits", "hinge"),
        ("values", "mae"),
        ("probabilities", "mse"),
        ("classes", "a_loss_of_a_plug_in"),
        (None, "mse"),
    ],
)
def test_a_loss_that_fits_is_not_doubted(answers: OutputKind | None, loss: str) -> None:
    """Nor an unknown one."""
    assert not loss_contradiction(answers, loss)
