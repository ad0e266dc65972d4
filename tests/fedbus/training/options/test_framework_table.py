"""The framework table agrees with the extras of fedbus."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from fedbus.training.options import FRAMEWORKS, LIGHTEST_FIRST, extra_of

ROOT = Path(__file__).parents[4]
PROJECTS = ("libs/fedbus", "services/edge_agent", "services/inference")


@pytest.mark.parametrize("project", PROJECTS)
def test_every_framework_has_an_extra_of_this_name(project: str) -> None:
    """Errors name it, and people copy it."""
    said = tomllib.loads((ROOT / project / "pyproject.toml").read_text())["project"]
    extras = {framework.extra for framework in FRAMEWORKS.values()}
    assert extras <= said["optional-dependencies"].keys()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_extra_installs_the_packages_of_its_framework(framework: str) -> None:
    """Distributions are called like the packages to import, with hyphens."""
    said = tomllib.loads((ROOT / "libs/fedbus/pyproject.toml").read_text())["project"]
    has = FRAMEWORKS[framework]
    wanted = [Requirement(line).name for line in said["optional-dependencies"][has.extra]]
    assert {name.replace("-", "_") for name in wanted} == set(has.packages)
    assert {extra_of(package) for package in (framework, *has.packages)} == {has.extra}


def test_every_framework_has_a_trainer_and_a_place_among_the_lightest() -> None:
    """Inference prefers the lightest that is installed."""
    said = tomllib.loads((ROOT / "libs/fedbus/pyproject.toml").read_text())["project"]
    assert FRAMEWORKS.keys() == said["entry-points"]["fedbus.trainers"].keys()
    assert sorted(LIGHTEST_FIRST) == sorted(FRAMEWORKS)
    assert extra_of("acme_fl") is None
