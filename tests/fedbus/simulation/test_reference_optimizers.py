"""The second implementation of each server optimizer agrees with the shipped one."""

import ast
import inspect
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from fedbus import plugins
from fedbus.plugins import BUILTIN_PACKAGE, Combined
from fedbus.plugins.discovery import find_all
from fedbus.simulation import reference_optimizers
from fedbus.simulation.reference_optimizers import (
    REFERENCE_OPTIMIZERS,
    Vector,
    reference_step,
)
from fedbus.training.params import PluginChoice

SHIPPED = [p.name for p in find_all("server_optimizers") if p.package == BUILTIN_PACKAGE]
PARAMETERS: Mapping[str, Mapping[str, float]] = {
    "adagrad": {"server_learning_rate": 0.3, "beta_1": 0.7, "tau": 0.02},
    "adam": {"server_learning_rate": 0.3, "beta_1": 0.7, "beta_2": 0.9, "tau": 0.02},
    "feddyn": {"alpha": 0.4},
    "momentum": {"server_learning_rate": 0.3, "server_momentum": 0.7},
    "scaffold": {"server_learning_rate": 0.3},
    "sgd": {"server_learning_rate": 0.3},
    "yogi": {"server_learning_rate": 0.3, "beta_1": 0.7, "beta_2": 0.9, "tau": 0.02},
}
NUMBERS = 40


def rounds(sections: tuple[str, ...] = ("control",)) -> list[Combined]:
    """Return six rounds of random updates, in which some numbers do not change at all."""
    rng = np.random.default_rng(3)
    moving = rng.random(NUMBERS) > 0.2
    return [
        Combined(
            update=moving * rng.normal(0, 10.0**-number, NUMBERS),
            sections={name: rng.normal(size=NUMBERS) for name in sections},
            agents=number + 1,
            population=9,
            round=number,
        )
        for number in range(1, 7)
    ]


def defaults(name: str) -> dict[str, float]:
    """Return the parameters that a job has if it gives none."""
    factory = plugins.load("server_optimizers", name)
    return {each: p.default for each, p in inspect.signature(factory).parameters.items()}


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("name", SHIPPED)
def test_both_implementations_agree(name: str, given: bool) -> None:
    """Over six rounds, with the state rounded to float32 between them as it is on disk."""
    parameters = PARAMETERS[name] if given else defaults(name)
    shipped = plugins.load("server_optimizers", name)(**parameters)
    choice = PluginChoice(id=name, parameters=parameters)
    names: tuple[str, ...] = getattr(shipped, "state", ())
    state = {each: np.zeros(NUMBERS, np.float32) for each in names}
    base: Vector = np.random.default_rng(4).normal(size=NUMBERS)
    for combined in rounds():
        before = {each: array.astype(float) for each, array in state.items()}
        changed = {each: array.copy() for each, array in before.items()}
        new = shipped.apply(base.copy(), combined, changed)
        stepped = reference_step(choice, base, combined, before)
        assert stepped is not None
        np.testing.assert_allclose(stepped[0], new, rtol=1e-12, atol=1e-14)
        assert stepped[1].keys() == changed.keys()
        for each, array in changed.items():
            np.testing.assert_allclose(stepped[1][each], array, rtol=1e-12, atol=1e-18)
        base, state = new, {each: array.astype(np.float32) for each, array in changed.items()}


def test_every_shipped_optimizer_has_a_reference() -> None:
    """A new one without a reference would leave the oracle without an expectation."""
    assert set(SHIPPED) == set(REFERENCE_OPTIMIZERS) == set(PARAMETERS)


def test_no_optimizer_adds_the_update_and_an_unknown_one_is_not_expected() -> None:
    """A third-party optimizer is checked by its author."""
    base, combined = np.ones(NUMBERS), rounds(())[0]
    assert reference_step(PluginChoice(id="own"), base, combined, {}) is None
    stepped = reference_step(None, base, combined, {})
    assert stepped is not None
    np.testing.assert_array_equal(stepped[0], base + combined.update)


def test_a_reference_changes_nothing_that_it_is_given() -> None:
    """The oracle reads base and state again for its next check."""
    state = {name: np.ones(NUMBERS) for name in ("control", "momentum", "mean_gradient")}
    state |= {name: np.ones(NUMBERS) for name in ("first_moment", "second_moment")}
    state["sum_of_squares"] = np.ones(NUMBERS)
    base, combined = np.ones(NUMBERS), rounds()[2]
    update = combined.update.copy()
    for name in SHIPPED:
        reference_step(PluginChoice(id=name, parameters=PARAMETERS[name]), base, combined, state)
    assert (base == 1).all()
    assert all((array == 1).all() for array in state.values())
    assert (combined.update == update).all()


def test_a_reference_is_independent_of_what_it_checks() -> None:
    """It imports no strategy, and finds none by its entry point."""
    tree = ast.parse(Path(reference_optimizers.__file__).read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {module for module in modules if module and "strategies" in module}
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr == "load"]
