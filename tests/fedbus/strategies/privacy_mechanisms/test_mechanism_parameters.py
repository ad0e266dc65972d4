"""A mechanism's parameters are refused with what is allowed, and agree with the job's terms."""

import math
import re
from collections.abc import Mapping
from typing import Any

import pytest

from fedbus.jobs import JobFile
from fedbus.plugins import load
from fedbus.strategies.resolution import resolve_job

CLIPPED = {"clipping_norm": 1.0, "num_sampled_clients": 20}
GAUSSIAN = {"noise_multiplier": 1.1, **CLIPPED}
BANDED = {"min_separation": 3, "max_participations": 5, **GAUSSIAN}
VALID: Mapping[str, Mapping[str, Any]] = {
    "dp-fixed": GAUSSIAN,
    "dp-adaptive": {"num_sampled_clients": 40},
    "dp-banded": BANDED,
    "metric-privacy": GAUSSIAN,
    "ldp-laplace": {"epsilon": 8.0, **CLIPPED},
    "ldp-gaussian": GAUSSIAN,
    "ldp-randomized-response": {"epsilon": 1.0, **CLIPPED},
}


def made(name: str, **changes: object) -> Any:  # noqa: ANN401 - any mechanism
    """Make a mechanism as agents and collectors do."""
    return load("update_transforms", name, ())(**{**VALID[name], **changes})


@pytest.mark.parametrize("name", VALID)
def test_the_named_parameters_make_a_mechanism(name: str) -> None:
    """With nothing but what a job must give."""
    assert made(name).noise_multiplier >= 0


WRONG = (0, -1, math.nan, math.inf, True, "1")


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        (name, parameter)
        for name in VALID
        for parameter in ("noise_multiplier", "clipping_norm", "init_clip_norm", "epsilon")
        if parameter in VALID[name] or (name, parameter) == ("dp-adaptive", "init_clip_norm")
    ],
)
def test_what_is_not_above_0_is_refused(name: str, parameter: str) -> None:
    """A noise multiplier of 0 adds none, a clipping norm of 0 leaves nothing to learn."""
    for wrong in WRONG:
        with pytest.raises(ValueError, match=rf"{parameter}: expected a number above 0, got"):
            made(name, **{parameter: wrong})


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("dp-fixed", {"noise_multiplier": 1e-4}, "expected at least 0.001, got 0.0001"),
        ("dp-fixed", {"noise_multiplier": 1e7}, "expected a number of at most 1e+06"),
        ("dp-fixed", {"clipping_norm": 1e-13}, "clipping_norm: expected at least 1e-12"),
        ("dp-fixed", {"clipping_norm": 1e7}, "clipping_norm: expected a number of at most 1e+06"),
        ("dp-fixed", {"num_sampled_clients": 0}, "num_sampled_clients: expected a whole number"),
        ("dp-fixed", {"num_sampled_clients": 10**9}, "of at most 10,000"),
        ("dp-fixed", {"server_side_noising": "no"}, "server_side_noising: expected true or false"),
        ("dp-fixed", {"bounded_by": "sum"}, "bounded_by: expected 'mean' or 'norm', got 'sum'"),
        (
            "dp-fixed",
            {"bounded_by": "norm", "server_side_noising": False},
            "server_side_noising: expected true, got false: the noise of agents adds up to the",
        ),
        (
            "dp-adaptive",
            {"noise_multiplier": 4},
            (
                "noise_multiplier: expected a number below num_sampled_clients / 10 = 4, got 4: "
                "the noise in the count of bits alone would use up what both releases may use. A "
                "clip_count_stddev above 2 allows it"
            ),
        ),
        (
            "dp-adaptive",
            {"noise_multiplier": 2, "clip_count_stddev": 0.5},
            (
                "noise_multiplier: expected a number below 2 * clip_count_stddev = 1, got 2: …"
                "clip_count_stddev above 1 allows it"
            ),
        ),
        ("dp-adaptive", {"clip_count_stddev": 0}, "clip_count_stddev: expected a number above 0"),
        ("dp-adaptive", {"clip_norm_target_quantile": 1.5}, "clip_norm_target_quantile: expected"),
        ("dp-adaptive", {"clip_norm_lr": 0}, "clip_norm_lr: expected a number above 0"),
        ("dp-banded", {"bands": 4}, "bands: expected at most min_separation = 3, got 4"),
        ("dp-banded", {"bands": 0}, "bands: expected a whole number of at least 1"),
        ("dp-banded", {"min_separation": 0}, "min_separation: expected a whole number"),
        ("dp-banded", {"max_participations": 10**6}, "max_participations: … at most 100,000"),
        ("ldp-laplace", {"epsilon": 1e5}, "epsilon: expected a number of at most 10,000"),
        ("ldp-randomized-response", {"epsilon": 17}, "epsilon: expected a number of at most 16"),
        ("ldp-randomized-response", {"epsilon": 1e-9}, "epsilon: expected at least 1e-06"),
    ],
)
def test_a_parameter_out_of_its_bounds_is_refused_with_the_bound(
    name: str, changes: Mapping[str, object], said: str
) -> None:
    """At submission, as all parameters of a strategy's parts are."""
    with pytest.raises(ValueError, match=".*".join(map(re.escape, said.split("…")))):
        made(name, **changes)


def test_bands_are_the_separation_unless_stated() -> None:
    """More bands take more noise back."""
    assert made("dp-banded").bands == 3
    assert made("dp-banded", bands=2).bands == 2


@pytest.mark.parametrize(
    ("name", "strategy", "expected"),
    [
        ("dp-fixed", "fedavg", 1.1),
        ("dp-fixed", "fedmedian", 1.1 / 40),
        ("dp-adaptive", "fedadam", 1.0),
        ("dp-adaptive", "fedmedian", 1.0 / 80),
        ("dp-banded", "fedavg", 1.1),
        ("dp-banded", "fedmedian", 1.1 / 40),
        ("metric-privacy", "fedavg", 0.0),
        ("ldp-laplace", "fedavg", 1 / 8),
        ("ldp-gaussian", "fedmedian", 0.55),
        ("ldp-randomized-response", "fedavg", 2 / (math.e + 1)),
    ],
)
def test_the_multiplier_of_a_mechanism_is_the_one_that_is_accounted(
    name: str, strategy: str, expected: float
) -> None:
    """The terms follow from the job file, the noise from the mechanism: they must agree."""
    tree = {
        "model_name": "m",
        "num_rounds": 1,
        "strategy": strategy,
        "privacy-mechanisms": {name: VALID[name]},
    }
    resolved = resolve_job(JobFile.model_validate(tree))
    assert resolved.privacy is not None
    assert resolved.privacy.noise_multiplier == pytest.approx(expected, rel=1e-12)
    choice = resolved.update_transforms[-1]
    mechanism = load("update_transforms", choice.id, ())(**choice.parameters)
    assert getattr(mechanism, "noise_multiplier", None) == pytest.approx(expected, rel=1e-12)
