"""Rules that an offer must follow to count in a round, whatever its update contains. Pure."""

from collections.abc import Mapping
from typing import Final

from fedbus.training.options import impossible_metric
from fedbus.wire.messages import Offer, OpenRound
from fedbus.wire.strategies import FactName
from fedbus_collector.rounds.progress import RoundProgress

_FACT_MISSING: Final[Mapping[FactName, str]] = {
    "steps": "steps are missing: the strategy {} needs them",
    "base_loss": "base_loss is missing: the strategy {} needs it",
    "norm_bit": "norm_bit is missing: the strategy {} needs it",
}


def refusal_reason(progress: RoundProgress, agent: str, offer: Offer) -> str | None:
    """Return why an offer cannot count, whatever its update contains; None if it may."""
    plan, request = progress.plan, progress.request
    if agent not in plan.cohort:
        return "not in this round's cohort"
    if agent in progress.refused:
        return progress.refused[agent]
    if progress.deadline_passed:
        return "the offer came after the deadline"
    if offer.base != plan.base.version:
        return f"trained from version {offer.base}, not {plan.base.version}"
    if offer.round != plan.round:
        return f"for round {offer.round}, not {plan.round}"
    wrong_fact = _missing_fact(request, offer) or _too_many_steps(request, offer)
    wrong_number = wrong_fact or _wrong_fixed_point(request, offer)
    return wrong_number or impossible_metric(offer.metrics) or None


def _missing_fact(request: OpenRound, offer: Offer) -> str | None:
    strategy = request.strategy
    for fact in strategy.facts:
        if getattr(offer.facts, fact) is None:
            return _FACT_MISSING[fact].format(strategy.id)
    return None


def _too_many_steps(request: OpenRound, offer: Offer) -> str | None:
    limit, steps = request.step_limit, offer.facts.steps
    if limit is None or steps is None or steps <= (most := limit.most(offer.examples)):
        return None
    return f"claims {steps} steps; {most} are possible with {offer.examples} examples"


def _wrong_fixed_point(request: OpenRound, offer: Offer) -> str | None:
    """Return why an update of fixed-point numbers weighs too much, or states no ranges."""
    fixed_point, plan = request.strategy.fixed_point, request.plan
    if fixed_point is None:
        return None
    if offer.examples > plan.max_examples:
        return f"claims {offer.examples} examples; {plan.max_examples} count in this round"
    if fixed_point.adaptive and len(offer.ranges) != len(plan.ranges):
        return f"states {len(offer.ranges)} ranges; the plan has {len(plan.ranges)}"
    return None
