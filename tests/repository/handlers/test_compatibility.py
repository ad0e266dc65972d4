"""A job is not kept if its model's frameworks cannot do what it asks."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from fedbus import demo_data
from fedbus.training.params import PluginChoice
from fedbus.wire.documents import ModelNeeds
from fedbus.wire.messages import JobFileRefused, JobLoaded, StoreJob
from fedbus.wire.strategies import Strategy
from fedbus_repository.handlers.compatibility import compatibility_warnings, incompatibilities
from fedbus_repository.stores.base import Store
from fedbus_repository.stores.records import StoreRefusal, Version
from tests.repository.harness import (
    CONTROLLER,
    JOB,
    MODEL,
    Harness,
    plain,
    push_of,
    put,
    spec,
    weights,
)


def file(**changes: Any) -> bytes:  # noqa: ANN401 - whatever a job file holds
    """Write a job file."""
    return json.dumps(
        {"training_id": JOB, "model_name": MODEL, "num_rounds": 1, **changes}
    ).encode()


FTRL = file(optimizer_config={"optimizer": "ftrl"})
LBFGS = file(optimizer_config={"optimizer": "lbfgs", "max_iter": 4})
BETAS = file(optimizer_config={"optimizer": "adam", "betas": [0.8, 0.9]})


@pytest.mark.parametrize(
    ("job", "architectures", "sentence"),
    [
        (
            FTRL,
            ("tflite", "torch"),
            "optimizer_config.optimizer: model digits is for tflite, torch: ",
        ),
        (FTRL, ("torch",), "'ftrl' is an optimizer of keras, not of torch; torch has adadelta"),
        (LBFGS, ("keras",), "'lbfgs' is an optimizer of torch, not of keras; keras has"),
        (BETAS, ("keras",), "optimizer_config.betas: .*beta_1, beta_2"),
        (
            file(plugins={"trainer": "keras"}),
            ("tflite", "torch"),
            "plugins.trainer: model digits has no architecture for 'keras'; it has tflite, torch",
        ),
        (
            file(client_type_id="base"),
            ("own",),
            "client_type_id: base is a trainer that fedbus ships; model digits is for own",
        ),
        (
            file(client_type_id="base", optimizer_config={"optimizer": "ftrl"}),
            ("own", "torch"),
            "'ftrl' is an optimizer of keras, not of torch",
        ),
    ],
)
def test_what_no_framework_of_a_model_takes_is_named(
    job: bytes, architectures: tuple[str, ...], sentence: str
) -> None:
    """With what they take instead."""
    [fault] = incompatibilities(job, ModelNeeds(architectures=architectures))
    assert re.search(sentence, f"{fault.key}: {fault.problem}; {fault.hint}")


@pytest.mark.parametrize(
    ("job", "needs"),
    [
        (FTRL, ModelNeeds(architectures=("keras", "torch"))),
        (BETAS, ModelNeeds(architectures=("keras", "torch"))),
        (FTRL, ModelNeeds(architectures=("own", "torch"))),
        (file(client_type_id="base"), ModelNeeds(architectures=("own", "torch"))),
        (FTRL, None),
        (b"{}", ModelNeeds(architectures=("torch",))),
        (
            file(optimizer_config={"optimizer": "ftrl"}, plugins={"trainer": "keras"}),
            ModelNeeds(architectures=("torch", "keras")),
        ),
    ],
)
def test_what_one_framework_takes_is_enough(job: bytes, needs: ModelNeeds | None) -> None:
    """Others of the model's are left to decline; trainers of others may take anything."""
    assert incompatibilities(job, needs) == ()


def test_all_that_no_framework_of_a_model_takes_is_named_each_at_its_key() -> None:
    """As what the controller finds: a program mends one key after the other."""
    job = file(optimizer_config={"optimizer": "ftrl"}, eval_metrics=["loss", "auc"])
    faults = incompatibilities(job, ModelNeeds(architectures=("tflite",)))
    assert [fault.key for fault in faults] == ["optimizer_config.optimizer", "eval_metrics[1]"]


def test_batches_that_a_model_cannot_normalize_are_refused_before_a_round() -> None:
    """One row has no variance: every agent would refuse every round."""
    one, two = (file(config=[{"batch_size": size}]) for size in (1, 2))
    needs = ModelNeeds(architectures=("torch",), least_batch=2)
    (fault,) = incompatibilities(one, needs)
    assert (fault.key, fault.hint) == ("config[0].batch_size", "2 or more")
    assert (
        "expected batches of 2 rows or more, got 1: the model normalizes batches" in fault.problem
    )
    assert incompatibilities(two, needs) == ()
    assert incompatibilities(one, ModelNeeds(architectures=("torch",))) == ()


def test_a_model_that_only_runs_is_not_trained() -> None:
    """Its file holds the weights."""
    needs = ModelNeeds(architectures=("tflite",), trains=False)
    (fault,) = incompatibilities(file(), needs)
    assert fault.key == "model_name"
    assert fault.problem.startswith("model digits only runs: its tflite file holds the weights, or")
    assert "under another name" in fault.hint
    assert incompatibilities(b"{", needs) == ()


def test_a_job_that_does_not_suit_its_model_is_not_kept(harness: Harness, store: Store) -> None:
    """The digits here are for tflite and torch; only Keras has FTRL."""
    architectures = {"tflite": {"name": "some"}, "torch": {"name": "mlp"}}
    stated, blob = put(store, spec(architectures=architectures)), put(store, weights(0.0))
    assert isinstance(store.push(push_of(stated, blob), ()), Version)
    [answer] = harness.receive(CONTROLLER, StoreJob(epoch=0, job=JOB, model=MODEL, file=FTRL))
    assert isinstance(answer, JobFileRefused)
    assert [fault.key for fault in answer.faults] == ["optimizer_config.optimizer"]
    assert "'ftrl' is an optimizer of keras" in answer.faults[0].problem
    assert isinstance(store.load_job(0, JOB), StoreRefusal)
    [answer] = harness.receive(CONTROLLER, StoreJob(epoch=0, job=JOB, model=MODEL, file=LBFGS))
    assert isinstance(answer, JobLoaded)


DIGITS = demo_data.read("digits.tflite")
WITH_TERMS = DIGITS.replace(b"get_state\0", b"set_terms\0")
FEDPROX = Strategy(
    id="fedprox",
    aggregator=PluginChoice(id="mean"),
    objective=PluginChoice(id="proximal", parameters={"proximal_mu": 0.1}),
)
OF_TFLITE = file(plugins={"trainer": "tflite"})


def answer_to(
    harness: Harness, store: Store, job: bytes, strategy: Strategy, tflite: bytes, *more: str
) -> object:
    """Submit a job on a model with a `.tflite` file, and `more` architectures."""
    named = put(store, tflite)
    architectures = {"tflite": {"blob": plain(named)}, **{name: {"name": "mlp"} for name in more}}
    stated, blob = put(store, spec(architectures=architectures)), put(store, weights(0.0))
    assert isinstance(store.push(push_of(stated, blob), (named,)), Version)
    message = StoreJob(epoch=0, job=JOB, model=MODEL, file=job, strategy=strategy)
    [answer] = harness.receive(CONTROLLER, message)
    return answer


@pytest.mark.parametrize(
    ("job", "more"),
    [(file(), ()), (OF_TFLITE, ("torch",)), (file(client_type_id="base"), ("own",))],
)
@pytest.mark.parametrize("objective", ["proximal", "feddyn", "scaffold"])
def test_an_objective_is_refused_on_a_tflite_file_without_terms(
    harness: Harness, store: Store, job: bytes, more: tuple[str, ...], objective: str
) -> None:
    """Every agent would decline every round."""
    strategy = replace(FEDPROX, objective=PluginChoice(id=objective))
    answer = answer_to(harness, store, job, strategy, DIGITS, *more)
    assert isinstance(answer, JobFileRefused)
    [fault] = answer.faults
    assert fault.key == "strategy"
    assert f"objective {objective!r} adds terms to the loss, and the .tflite file" in fault.problem
    assert "`fedbus models push package.module:factory --local-terms`" in fault.hint
    assert isinstance(store.load_job(0, JOB), StoreRefusal)


@pytest.mark.parametrize(
    ("job", "strategy", "tflite"),
    [
        (file(), FEDPROX, WITH_TERMS),
        (OF_TFLITE, replace(FEDPROX, objective=None), DIGITS),
        (
            OF_TFLITE,
            replace(FEDPROX, objective=PluginChoice(id="proximal", parameters={"proximal_mu": 0})),
            DIGITS,
        ),
        (OF_TFLITE, replace(FEDPROX, objective=PluginChoice(id="acme")), DIGITS),
        (file(), FEDPROX, b"damaged"),
    ],
    ids=["with terms", "no objective", "factor 0", "third party", "damaged"],
)
def test_an_objective_is_taken_where_an_agent_may_add_its_terms(
    harness: Harness, store: Store, job: bytes, strategy: Strategy, tflite: bytes
) -> None:
    """Agents find out what the repository cannot."""
    assert isinstance(answer_to(harness, store, job, strategy, tflite), JobLoaded)


def test_an_objective_is_taken_where_other_agents_may_add_its_terms(
    harness: Harness, store: Store
) -> None:
    """Those with PyTorch can."""
    assert isinstance(answer_to(harness, store, file(), FEDPROX, DIGITS, "torch"), JobLoaded)


def test_a_loss_that_contradicts_what_the_model_answers_is_warned_of() -> None:
    """The job is taken: its loss may be right, and what was said at the push wrong."""
    job = file(eval_func="binary_crossentropy")
    (said,) = compatibility_warnings(job, ModelNeeds(architectures=("torch",), answers="classes"))
    assert "trains yes or no for each output" in said
    assert compatibility_warnings(job, ModelNeeds(architectures=("torch",), answers="labels")) == ()
    assert compatibility_warnings(job, None) == ()
    assert (
        compatibility_warnings(b"{}", ModelNeeds(architectures=("torch",), answers="classes")) == ()
    )


@pytest.mark.parametrize(
    ("answers", "loss"),
    [
        ("values", "name mse (or mae, huber)"),
        ("labels", "name binary_crossentropy"),
        ("logits", "name binary_crossentropy"),
    ],
)
def test_a_job_that_names_no_loss_is_refused_where_the_default_cannot_train_the_model(
    answers: Any,  # noqa: ANN401 - a word of the spec's
    loss: str,
) -> None:
    """It failed on every agent, three times, with an advice for another model."""
    needs = ModelNeeds(architectures=("keras",), answers=answers)
    (fault,) = incompatibilities(file(), needs)
    assert (fault.key, fault.hint) == ("eval_func", loss)
    assert fault.problem == (
        f"missing: model digits answers {answers}, which the default, categorical_crossentropy, "
        "cannot train"
    )
    assert incompatibilities(file(eval_func="categorical_crossentropy"), needs) == ()


@pytest.mark.parametrize(
    ("architectures", "answers"),
    [(("keras",), "classes"), (("keras",), None), (("own",), "values")],
)
def test_a_job_that_names_no_loss_is_taken_where_the_default_may_train_the_model(
    architectures: tuple[str, ...],
    answers: Any,  # noqa: ANN401 - a word of the spec's
) -> None:
    """A trainer that is not ours may have a loss of its own."""
    assert incompatibilities(file(), ModelNeeds(architectures=architectures, answers=answers)) == ()
