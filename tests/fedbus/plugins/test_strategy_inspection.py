"""Inspection of a strategy's parts, before a job runs with them."""

import ast
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

from fedbus.plugins import (
    Group,
    Preset,
    UpdateFacts,
    objective_protocols,
    privacy_protocols,
    strategy_protocols,
)
from fedbus.plugins.inspection import signature_faults
from fedbus.plugins.strategy_inspection import METHODS, OPTIONAL_METHODS, part_faults
from fedbus.training.params import PluginChoice


class Median:
    def combine(self, blocks: object, weights: object) -> object: ...


@dataclass
class Krum:
    gram: ClassVar = "model"

    malicious: int
    keep: float | None
    how: Literal["a", "b"]
    some: tuple[float, ...]
    more: list[int]
    other: Sequence[float]
    text: str

    @property
    def least_updates(self) -> int:
        return 2 * self.malicious + 3

    def weigh(self, facts: object, gram: object) -> object: ...

    combine = Median.combine


@dataclass(slots=True)
class Momentum:
    rate: float = 1.0
    state: tuple[str, ...] = ("momentum",)

    @staticmethod
    def apply(base: object, combined: object, state: object) -> object: ...


class Proximal:
    facts = ["steps", "base_loss"]  # noqa: RUF012 - as a user writes it
    needs_plain_sgd = True

    def terms(self, start: object) -> object: ...


class Clip:
    @classmethod
    def transform_update(cls, update: object, rng: object) -> object: ...


class Old:
    def fold(self, total: object, block: object, weight: float) -> None: ...


class Short:
    def weigh(self, facts: object) -> object: ...


class Both(Median):
    def weight(self, facts: object) -> float: ...  # type: ignore[empty-body] # only its signature is used


class Wrong(Median):
    facts = "steps"
    gram = ["model"]  # noqa: RUF012 - as a user writes it
    least_updates = True


class WrongFact(Median):
    facts = ("loss",)
    gram = "layers"
    least_updates = 0

    def __init__(self, x: int, /) -> None: ...


class Computed(Median):
    def facts(self) -> tuple[str, ...]: ...  # type: ignore[empty-body] # only its kind is used


class WrongState(Momentum):
    state = ("m", "m")
    sections = "control"
    needs_population = 1


def median(blocks: object, weights: object) -> object:
    """Take the arguments of `combine`."""


def foreign(numbers: np.ndarray[Any, Any], power: float) -> object:
    """Take an array, which no job can give."""


def unknown_annotation(blocks: "missing") -> object:  # type: ignore[name-defined] # noqa: F821 - as a user writes it
    """Have an annotation that no name defines."""


def factory(malicious: int = 1) -> object:
    """Take a parameter of a job."""


@pytest.mark.parametrize(
    ("group", "made"),
    [
        ("aggregators", Median),
        ("aggregators", Krum),
        ("aggregators", factory),
        ("aggregators", max),
        ("aggregators", unknown_annotation),
        ("server_optimizers", Momentum),
        ("objectives", Proximal),
        ("update_transforms", Clip),
        ("strategies", Preset(aggregator=PluginChoice(id="median"), renamed={"eta": "rate"})),
    ],
)
def test_what_fits_has_no_faults(group: Group, made: object) -> None:
    """Other names of arguments, computed attributes and lists are a matter of taste."""
    assert list(signature_faults(group, made)) == []


@pytest.mark.parametrize(
    ("group", "made", "sentences"),
    [
        (
            "aggregators",
            Old,
            ["no method weight(facts) or weigh(facts, gram) or combine(blocks, we"],
        ),
        (
            "aggregators",
            Old,
            ["; fold(total, block, weight) is not called: write weight(self, fac"],
        ),
        (
            "aggregators",
            Short,
            ["weigh takes (facts: object) and is called with (facts, gram):"],
        ),
        (
            "aggregators",
            Both,
            ["weight and combine in one class: of these, weight must stand alone"],
        ),
        ("aggregators", Median(), ["or a function of the job's parameters, got a Median"]),
        (
            "aggregators",
            median,
            ["it takes (blocks, weights) and is called with the parameters of a"],
        ),
        (
            "aggregators",
            median,
            ["write a class with the method combine(self, blocks, weights), who"],
        ),
        ("aggregators", foreign, ["it takes (numbers, power) and is called with the parameters"]),
        (
            "aggregators",
            Wrong,
            [
                "facts: expected a tuple of names out of steps, base_loss, norm_bit, got 'steps'",
                "gram: expected 'model' or 'tensors', got ['model']",
                "least_updates: expected a whole number of at least 1, got True",
            ],
        ),
        (
            "aggregators",
            WrongFact,
            ["got ('loss',)", "got 'layers'", "got 0", "by name: remove the / after x"],
        ),
        ("aggregators", Computed, ["facts: expected a tuple of names", "got a function"]),
        ("server_optimizers", Median, ["no method apply(base, combined, state)"]),
        (
            "server_optimizers",
            WrongState,
            [
                "state: expected a tuple of at most 8 different names, got ('m', 'm')",
                "sections: expected a tuple of at most 8 different names, got 'control'",
                "needs_population: expected True or False, got 1",
            ],
        ),
        ("objectives", Median, ["no method terms(start)"]),
        ("update_transforms", 3, ["got a int"]),
        ("update_transforms", Median, ["no method transform_update(update, rng) or transform_com"]),
        ("strategies", Median, ["expected a Preset, got a function or class; the entry point nam"]),
        ("strategies", 3, ["expected a Preset, got a int"]),
        (
            "strategies",
            Preset(aggregator="median", objective=3, renamed={"eta": 1}),  # type: ignore[arg-type, dict-item] # wrong on purpose
            [
                "aggregator: expected a PluginChoice, got a str; write PluginChoice(id='median')",
                "objective: expected a PluginChoice, got a int",
                "renamed: expected names",
            ],
        ),
    ],
)
def test_a_fault_says_what_to_write(group: Group, made: object, sentences: list[str]) -> None:
    """An author who has read one page only must not need our code."""
    said = " | ".join(signature_faults(group, made))
    assert [sentence for sentence in sentences if sentence not in said] == []


def test_an_object_parameter_that_is_not_json_is_named() -> None:
    """A job gives parameters as JSON, so such a class cannot be made."""

    class Foreign(Median):
        def __init__(self, rng: np.random.Generator, table: Mapping[str, float]) -> None: ...

    said = list(signature_faults("aggregators", Foreign))
    assert said == ["a job can give only numbers, texts, true and false: not rng, table"]


def test_a_parameter_that_takes_a_dict_is_named() -> None:
    """Its default would be used in every job."""

    class Tabled(Median):
        def __init__(self, table: dict[str, float] = {}, plain: dict = {}) -> None: ...  # type: ignore[type-arg]  # noqa: B006 - as in a plug-in

    why = "no job can give a dict; take numbers, texts or flags by name"
    assert list(signature_faults("aggregators", Tabled)) == [f"table: {why}", f"plain: {why}"]


def test_attributes_of_an_object_are_read_where_its_class_computes_them() -> None:
    """What Krum needs follows from its parameters."""

    class Wide(Krum):
        def __init__(self) -> None:
            self.malicious = -2

    assert list(part_faults("aggregators", Wide)) == []
    assert list(part_faults("aggregators", Wide())) == [
        "least_updates: expected a whole number of at least 1, got -1"
    ]
    assert list(part_faults("aggregators", Median())) == []
    assert list(part_faults("server_optimizers", Momentum(state=("a b",)))) == [
        "state: expected a tuple of at most 8 different names, got ('a b',)"
    ]


def test_the_methods_are_those_of_the_protocols() -> None:
    """A renamed argument in a protocol must be renamed in the sentences, too."""
    modules = strategy_protocols, objective_protocols, privacy_protocols
    trees = [ast.parse(inspect.getsource(module)) for module in modules]
    given_to_parts = {"SecretNoise", "RoundNoise"}
    protocols = {
        method.name: tuple(each.arg for each in method.args.posonlyargs[1:])
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name not in given_to_parts
        for method in node.body
        if isinstance(method, ast.FunctionDef)
    }
    groups = [*METHODS.values(), *OPTIONAL_METHODS.values()]
    assert {name: args for methods in groups for name, args in methods.items()} == protocols


def test_optional_methods_are_inspected_and_are_not_enough() -> None:
    """The collector calls them with the arguments of their protocols."""

    class Refuses:
        def weight(self, facts: UpdateFacts) -> float:
            return facts.examples * 1.0

        def refuses(self) -> str:
            return ""

    (fault,) = part_faults("aggregators", Refuses)
    assert "refuses" in fault
    del Refuses.weight
    assert any("no method weight" in fault for fault in part_faults("aggregators", Refuses))
