"""Tasks of jobs with a privacy mechanism: what an agent declines before it trains. Pure.

An agent trusts no other node with its privacy: a task whose parts do not add up to what its terms
say is declined, even though the controller and the repository have checked it.
"""

from typing import Final

from fedbus.errors import PrivacyError
from fedbus.model.layout import Layout
from fedbus.model.sections import untrained_tensors
from fedbus.text import listed
from fedbus.training.dp_sgd import dp_sgd_steps
from fedbus.training.params import DpSgdParams, PluginChoice, TrainingParams
from fedbus.wire.messages import TrainTask
from fedbus.wire.privacy import PrivacyTerms

_ROUNDING: Final = 1 + 1e-9
"""The terms were computed elsewhere, perhaps with another rounding of the last digit."""
_NAMED_TENSORS: Final = 3


def hides_agent(task: TrainTask) -> bool:
    """Return whether no node may see that this agent trains, and no figure of it may leave it."""
    return task.privacy is not None


def update_mechanism(privacy: PrivacyTerms | None) -> str | None:
    """Return the id of the update transform that protects the update; None if none has to."""
    if privacy is None or privacy.release in {"dp-sgd", "features"}:
        return None
    return privacy.mechanism


def protects_own_data(task: TrainTask) -> bool:
    """Return whether an update depends on this agent's examples, and its terms protect them.

    The trainer of MistNet trains on features, which were randomized before they left their agents.
    """
    return task.privacy is not None and task.privacy.release != "features"


def agent_draws_noise(task: TrainTask) -> bool:
    """Return whether the agent draws the noise of a task's update."""
    privacy = task.privacy
    return privacy is not None and privacy.release != "features" and privacy.noise == "agents"


def check_private_task(task: TrainTask) -> None:
    """Decline a task whose parts do not keep what its privacy terms say.

    Raises:
        PrivacyError: The mechanism is absent or not the last transform, or the offer would have
            more than a protected update.
    """
    privacy, params = task.privacy, task.params
    if privacy is None:
        if params.dp_sgd is not None:
            raise PrivacyError("the task trains with DP-SGD, but has no privacy terms")
        return
    if privacy.release == "features":
        if task.feature_terms is None:
            raise PrivacyError(
                f"the task has the privacy terms of {privacy.mechanism!r}, which protect features, "
                "but trains on this agent's own examples"
            )
        return
    if privacy.release == "dp-sgd":
        _check_dp_sgd(privacy, params)
    else:
        _check_last_transform(privacy, params)
    if task.sections:
        raise PrivacyError(
            f"the strategy needs the section {task.sections[0]!r} of updates, which the privacy "
            f"mechanism {privacy.mechanism!r} does not protect; take a strategy without sections, "
            "such as fedavg"
        )
    if unprotected := set(task.facts) - {"norm_bit"}:
        raise PrivacyError(
            f"the strategy needs {listed(sorted(unprotected))} of each training, which the privacy "
            f"mechanism {privacy.mechanism!r} does not protect; take another aggregator, such as "
            "mean"
        )


def check_mechanism_noise(choice: PluginChoice, mechanism: object, privacy: PrivacyTerms) -> None:
    """Decline a mechanism whose parameters do not keep the terms.

    Raises:
        PrivacyError: It gives less noise, or has another node draw it, or counts on other agents.
    """
    multiplier = getattr(mechanism, "noise_multiplier", 0.0)
    if privacy.release != "metric" and privacy.noise_multiplier > multiplier * _ROUNDING:
        raise PrivacyError(
            f"the parameters of the privacy mechanism {choice.id!r} give less noise than the "
            "task's privacy terms say"
        )
    if privacy.noise == "agents" and getattr(mechanism, "collector_draws_noise", False):
        raise PrivacyError(
            f"the privacy mechanism {choice.id!r} has the collector draw the noise, and the task's "
            "privacy terms have the agents draw it"
        )
    counted_on = choice.parameters.get("num_sampled_clients", privacy.cohort)
    if counted_on != privacy.cohort:
        raise PrivacyError(
            f"the privacy mechanism {choice.id!r} counts on {counted_on} agents, and the task's "
            f"privacy terms on {privacy.cohort}"
        )


def check_private_layout(layout: Layout) -> None:
    """Decline a model with shared tensors that no mechanism bounds.

    Raises:
        PrivacyError: A tensor has the role `statistic`, or no floating-point numbers.
    """
    if foreign := [tensor.name for tensor in untrained_tensors(layout)]:
        more = len(foreign) - _NAMED_TENSORS
        named = listed(map(repr, foreign[:_NAMED_TENSORS])) + (f" and {more} more" * (more > 0))
        raise PrivacyError(
            f"a privacy mechanism bounds floating-point weights only, and this model shares {named}"
            "; use GroupNorm or LayerNorm in place of batch normalisation, or give these tensors "
            "the role `local`"
        )


def _check_last_transform(privacy: PrivacyTerms, params: TrainingParams) -> None:
    ids = [choice.id for choice in params.update_transforms]
    if params.dp_sgd is not None:
        raise PrivacyError(
            f"the task trains with DP-SGD, but has the privacy terms of {privacy.mechanism!r}"
        )
    if privacy.mechanism not in ids:
        raise PrivacyError(
            f"the task has the privacy terms of {privacy.mechanism!r}, but its update transforms "
            f"are {listed(ids) or 'none'}: nothing would protect the update"
        )
    if ids.index(privacy.mechanism) != len(ids) - 1:
        raise PrivacyError(
            f"the privacy mechanism {privacy.mechanism!r} must be the last update transform, and "
            f"{ids[-1]!r} comes after it"
        )


def _check_dp_sgd(privacy: PrivacyTerms, params: TrainingParams) -> None:
    given: DpSgdParams | None = params.dp_sgd
    if given is None:
        raise PrivacyError("the task has the privacy terms of DP-SGD, but trains without it")
    if privacy.noise != "agents" or privacy.unit != "example":
        raise PrivacyError(
            "the task trains with DP-SGD, which protects examples by noise of agents, and its "
            f"privacy terms protect one {privacy.unit} by noise of the {privacy.noise}"
        )
    steps = dp_sgd_steps(params, given.least_examples)
    for what, promised, kept in (
        ("noise multiplier", privacy.noise_multiplier, given.noise_multiplier),
        ("rate", 1 / privacy.rate, 1 / steps.rate),
        ("number of steps", 1 / privacy.steps, 1 / steps.total),
    ):
        if promised > kept * _ROUNDING:
            raise PrivacyError(
                f"the {what} of DP-SGD in the task gives less privacy than its privacy terms say"
            )
