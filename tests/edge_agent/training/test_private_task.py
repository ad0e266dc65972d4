"""Private tasks that an agent declines before it trains: what would not keep their terms."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus.errors import PrivacyError
from fedbus.jobs import JobFile, training_params_of
from fedbus.model.layout import Layout
from fedbus.strategies.resolution import resolve_job
from fedbus.training.params import PluginChoice, TrainingParams
from fedbus.wire.features import FeatureTerms
from fedbus.wire.messages import TrainTask
from fedbus_edge_agent.training.local_strategy import StrategyPlugins
from fedbus_edge_agent.training.private_task import (
    agent_draws_noise,
    check_private_layout,
    check_private_task,
    protects_own_data,
    update_mechanism,
)
from tests.edge_agent.harness import train
from tests.edge_agent.training.private_tasks import (
    DP_SGD,
    EXAMPLE_TERMS,
    LOCAL_TERMS,
    TERMS,
    private,
    with_dp_sgd,
)
from tests.plugin_package import Install

FIXED = {"noise_multiplier": 1.1, "clipping_norm": 2, "num_sampled_clients": 20}
LDP = {"epsilon": 2, "clipping_norm": 1, "num_sampled_clients": 20}
FEATURE_TERMS = replace(TERMS, mechanism="mistnet", release="features", noise="agents")
CUT = FeatureTerms(cut_layer=1, epsilon=1.0, features=4)
CLIP = PluginChoice(id="dp-trial")
OTHER = PluginChoice(id="scale")


def with_params(task: TrainTask, params: TrainingParams) -> TrainTask:
    """Return a task with other parameters."""
    return replace(task, params=params)


@pytest.mark.parametrize(
    "task",
    [
        train(),
        private(train()),
        private(train(), facts=("norm_bit",)),
        private(train(params=TrainingParams(update_transforms=(OTHER,)))),
        with_dp_sgd(train()),
        with_dp_sgd(train(), steps_per_epoch=2),
        replace(with_dp_sgd(train()), privacy=replace(EXAMPLE_TERMS, rate=0.5, steps=9)),
        train(privacy=FEATURE_TERMS, feature_terms=CUT, sections=("variate",)),
    ],
)
def test_a_task_that_keeps_its_terms_is_accepted(task: TrainTask) -> None:
    """With weaker terms than it keeps, too; and one without terms is not judged."""
    check_private_task(task)


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (replace(with_dp_sgd(train()), privacy=None), "trains with DP-SGD, but has no privacy"),
        (
            private(train(), replace(TERMS, release="features")),
            "which protect features, but trains on",
        ),
        (train(privacy=TERMS), "its update transforms are none: nothing would protect"),
        (
            train(privacy=TERMS, params=TrainingParams(update_transforms=(OTHER,))),
            "its update transforms are scale: nothing would protect",
        ),
        (
            train(privacy=TERMS, params=TrainingParams(update_transforms=(CLIP, OTHER))),
            "'dp-trial' must be the last update transform, and 'scale' comes after it",
        ),
        (
            train(privacy=TERMS, params=TrainingParams(update_transforms=(CLIP, CLIP))),
            "'dp-trial' must be the last update transform, and 'dp-trial' comes after it",
        ),
        (
            private(train(params=TrainingParams(dp_sgd=DP_SGD))),
            "trains with DP-SGD, but has the privacy terms of 'dp-trial'",
        ),
        (private(train(), sections=("variate",)), "the section 'variate' of updates, which the"),
        (private(train(), facts=("norm_bit", "steps")), "needs steps of each training"),
        (with_dp_sgd(replace(train(), facts=("base_loss",))), "needs base_loss of each training"),
        (with_dp_sgd(train(), dp_sgd=None), "terms of DP-SGD, but trains without it"),
        (
            replace(with_dp_sgd(train()), privacy=replace(EXAMPLE_TERMS, noise="collector")),
            "its privacy terms protect one example by noise of the collector",
        ),
        (
            replace(with_dp_sgd(train()), privacy=replace(EXAMPLE_TERMS, unit="agent")),
            "its privacy terms protect one agent by noise of the agents",
        ),
        (
            with_dp_sgd(train(), dp_sgd=replace(DP_SGD, noise_multiplier=0.99)),
            "the noise multiplier of DP-SGD in the task gives less privacy",
        ),
        (with_dp_sgd(train(), batch_size=11), "the rate of DP-SGD in the task gives less"),
        (with_dp_sgd(train(), epochs=3), "the number of steps of DP-SGD in the task gives less"),
    ],
)
def test_a_task_that_does_not_keep_its_terms_is_declined(task: TrainTask, reason: str) -> None:
    """Whatever other nodes have checked before."""
    with pytest.raises(PrivacyError, match=reason):
        check_private_task(task)


def test_a_model_that_shares_what_no_mechanism_bounds_is_declined() -> None:
    """Statistics and whole numbers; local ones never leave their agent."""
    arrays = {name: np.zeros(2, np.float32) for name in ("w", "a", "b", "c")}
    arrays["seen"] = np.zeros(2, np.int64)
    check_private_layout(Layout.of({"w": arrays["w"]}))
    check_private_layout(Layout.of(arrays, dict.fromkeys(("a", "b", "c", "seen"), "local")))
    with pytest.raises(PrivacyError, match="shares 'seen'; use GroupNorm"):
        check_private_layout(Layout.of(arrays))
    with pytest.raises(PrivacyError, match=r"shares 'a', 'b', 'c' and 1 more; use GroupNorm"):
        check_private_layout(Layout.of(arrays, dict.fromkeys(("a", "b", "c"), "statistic")))


PARTS = """
from fedbus.plugins import PrivateUpdate

class Clip:
    noise_multiplier = 1.0

    def protect(self, update, training):
        return PrivateUpdate(update=update)

class Draw:
    def refuses_update(self, facts, numbers): ...
    def next_private_numbers(self, numbers, facts, noise): ...
    def add_noise(self, combined, noise): ...

class Scale:
    def transform_update(self, update, rng):
        return update
"""
ENTRIES = """
[fedbus.update_transforms]
dp-trial = trial_parts:Clip
dp-drawn = trial_parts:Draw
scaled = trial_parts:Scale
"""


def params_of(*ids: str) -> TrainingParams:
    """Return parameters with these transforms."""
    return TrainingParams(update_transforms=tuple(PluginChoice(id=each) for each in ids))


def test_a_third_party_mechanism_protects_no_update(install: Install) -> None:
    """It is declined before it is imported, whatever it would do."""
    install("trial_parts", ENTRIES, PARTS)
    for call in (StrategyPlugins().check, StrategyPlugins().load):
        with pytest.raises(PrivacyError, match="'dp-trial' is of the package 'trial_parts'; an"):
            call(params_of("dp-trial"), TERMS)


def test_a_mechanism_that_the_terms_do_not_name_is_declined(install: Install) -> None:
    """An update transform of a third party is found out when it is made, before the training."""
    install("trial_parts", ENTRIES, PARTS)
    plugins = StrategyPlugins()
    for ids, terms in ((["dp-trial"], None), (["dp-drawn"], None), (["dp-drawn"], EXAMPLE_TERMS)):
        assert plugins.check(params_of(*ids), terms) == 0
        with pytest.raises(PrivacyError, match=f"{ids[0]!r} is a privacy mechanism, and the task"):
            plugins.load(params_of(*ids), terms)
    assert len(plugins.load(params_of("scaled")).transforms) == 1


def test_a_mechanism_of_fedbus_is_loaded_apart_from_the_transforms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that cannot protect an update is declined before the task is accepted."""
    info = tmp_path / "fedbus-1.0.dist-info"
    info.mkdir()
    (tmp_path / "trial_parts.py").write_text(PARTS)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fedbus\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins = StrategyPlugins()
    assert plugins.check(params_of("scaled", "dp-trial"), TERMS) == 0
    loaded = plugins.load(params_of("scaled", "dp-trial"), TERMS)
    assert loaded.mechanism is not None
    assert loaded.mechanism[0] == "dp-trial"
    assert [name for name, _ in loaded.transforms] == ["scaled"]
    with pytest.raises(PrivacyError, match="'dp-trial' is a privacy mechanism, and the task"):
        plugins.check(params_of("dp-trial"))
    terms = replace(TERMS, mechanism="scaled")
    with pytest.raises(PrivacyError, match="'scaled' cannot protect an update: it has no method"):
        plugins.check(params_of("scaled"), terms)


def test_some_mechanisms_need_no_update_transform() -> None:
    """The noise of DP-SGD is in the gradients, that of MistNet in the features."""
    assert update_mechanism(FEATURE_TERMS) is None
    assert update_mechanism(None) is None
    assert update_mechanism(EXAMPLE_TERMS) is None
    assert update_mechanism(TERMS) == "dp-trial"


@pytest.mark.parametrize(
    ("task", "protected", "draws"),
    [
        (train(), False, False),
        (private(train()), True, False),
        (private(train(), LOCAL_TERMS), True, True),
        (with_dp_sgd(train()), True, True),
        (train(privacy=FEATURE_TERMS, feature_terms=CUT), False, False),
    ],
)
def test_which_updates_hold_noise_of_their_agent(
    task: TrainTask, protected: bool, draws: bool
) -> None:
    """An update of MistNet depends on no example of its agent, but on features with noise."""
    assert (protects_own_data(task), agent_draws_noise(task)) == (protected, draws)


WRITTEN: dict[str, dict[str, Any]] = {
    "dp-fixed": FIXED,
    "dp-adaptive": {"num_sampled_clients": 20},
    "dp-banded": {**FIXED, "min_separation": 9, "max_participations": 11},
    "metric-privacy": FIXED,
    "ldp-laplace": LDP,
    "ldp-gaussian": FIXED,
    "ldp-randomized-response": LDP,
}


def resolved_task(mechanism: str, parameters: Mapping[str, Any], strategy: str) -> TrainTask:
    """Return a task of a job with one of fedbus's mechanisms, as a controller sends it."""
    tree = {"model_name": "m", "num_rounds": 2, "strategy": strategy}
    job = JobFile.model_validate(tree | {"privacy-mechanisms": {mechanism: parameters}})
    found = resolve_job(job)
    params = replace(training_params_of(job), update_transforms=found.update_transforms)
    return train(params=params, privacy=found.privacy, facts=found.facts)


@pytest.mark.parametrize("strategy", ["fedavg", "fedmedian"])
@pytest.mark.parametrize("mechanism", WRITTEN)
def test_the_mechanisms_of_fedbus_keep_the_terms_of_their_jobs(
    mechanism: str, strategy: str
) -> None:
    """And one that is given less noise than the terms say is declined."""
    task = resolved_task(mechanism, WRITTEN[mechanism], strategy)
    check_private_task(task)
    assert StrategyPlugins().check(task.params, task.privacy) == 0
    loaded = StrategyPlugins().load(task.params, task.privacy)
    assert loaded.mechanism is not None
    assert loaded.mechanism[0] == mechanism
    assert task.privacy is not None
    if task.privacy.release != "metric":
        more = replace(task.privacy, noise_multiplier=task.privacy.noise_multiplier * 1.001)
        with pytest.raises(PrivacyError, match="give less noise than the task's privacy terms say"):
            StrategyPlugins().check(task.params, more)
    with pytest.raises(PrivacyError, match="counts on 20 agents, and the task's privacy terms on"):
        StrategyPlugins().check(task.params, replace(task.privacy, cohort=21))


def test_one_side_draws_the_noise() -> None:
    """The agent does not send an update without noise for which its terms have it draw some."""
    local = resolved_task("dp-fixed", {**FIXED, "server_side_noising": False}, "fedavg")
    assert local.privacy is not None
    assert local.privacy.noise == "agents"
    assert StrategyPlugins().check(local.params, local.privacy) == 0
    central = resolved_task("dp-fixed", FIXED, "fedavg")
    with pytest.raises(PrivacyError, match="'dp-fixed' has the collector draw the noise, and the"):
        StrategyPlugins().check(central.params, local.privacy)
