"""A job's privacy mechanism as the last update transform of its strategy, and equal weights.

The weight of an update would change how much one agent changes the result, so under a mechanism
every update counts equally, and the mean is divided by the number of agents wanted, not of those
that came. An encrypted sum is divided by those that came: it has the whole distance of each agent
from the anchor, of which a fixed number of agents would take a part away. With the same updates and
zeros in the place of one, both divisors are the same, so ε holds for both.
"""

from collections.abc import Collection, Iterator
from contextlib import suppress

from fedbus.jobs import JobFault, JobFile
from fedbus.jobs.privacy_consistency import PRIVACY
from fedbus.jobs.privacy_options import DpAdaptive, DpFixed
from fedbus.strategies.chosen_parts import WHOLE, Given, GivenParameter, StrategyPart, load_part
from fedbus.strategies.mechanism_rules import MECHANISM_RULES
from fedbus.strategies.privacy_terms import AVERAGING, cohort_of
from fedbus.training.params import Argument, PluginChoice
from fedbus.wire.job_faults import show


def mechanism_part(
    job: JobFile, aggregator: str, allowed: Collection[str] | None
) -> StrategyPart | None:
    """Load the part of a job's mechanism; None: no update transform does it.

    A part that takes `bounded_by` gets what bounds the change that one agent makes in the combined
    update: the mean, or the norm to which the mechanism clips it.
    """
    chosen = job.privacy_mechanisms.chosen
    if chosen is None or not MECHANISM_RULES[chosen[0]].has_part:
        return None
    name, mechanism = chosen
    parameters = mechanism.part_parameters()
    if isinstance(mechanism, DpFixed | DpAdaptive):
        parameters["server_side_noising"] = job.privacy_mechanisms.collector_noises
    key = f"{PRIVACY}.{name}"
    part = load_part(
        "update_transforms", PluginChoice(id=name, parameters=parameters), key, allowed, key
    )
    if "bounded_by" in part.takes.named:
        bound = "mean" if aggregator == AVERAGING else "norm"
        part.own = {**part.own, "bounded_by": GivenParameter(key, bound)}
    return part


def misplaced_mechanism(name: str, key: str) -> JobFault:
    """Return the fault of a mechanism among the update transforms: there is no ε for it."""
    return JobFault(
        key=key,
        problem=f"{name} is a privacy mechanism, which the accountant must know",
        hint=f"choose it as {PRIVACY}.{name}",
    )


def bound_weights(job: JobFile, aggregator: StrategyPart, given: Given) -> Iterator[JobFault]:
    """Make the mean of a job with a mechanism weigh equally; yield faults of other weights."""
    chosen = job.privacy_mechanisms.chosen
    if chosen is None or aggregator.id != AVERAGING or aggregator.factory is None:
        return
    name, mechanism = chosen
    wanted: dict[str, Argument] = {"weighted": False}
    readable = job.privacy_mechanisms.homomorphic is None
    if MECHANISM_RULES[name].fixed_denominator and readable:
        wanted["divisor"] = cohort_of(job, mechanism)
    for parameter, value in wanted.items():
        stated = given.get(parameter) or aggregator.own.get(parameter)
        if stated is not None and stated.key != WHOLE:
            yield from _other_weight(name, parameter, value, stated, aggregator)
        else:
            aggregator.own = {**aggregator.own, parameter: GivenParameter(WHOLE, value)}


def _other_weight(
    mechanism: str, name: str, wanted: Argument, stated: GivenParameter, aggregator: StrategyPart
) -> Iterator[JobFault]:
    value = stated.value
    with suppress(ValueError):  # of another kind: the part has a fault for it
        value = aggregator.takes.named[name].read(value)
        if value != wanted:
            how = "counts every update equally" if name == "weighted" else f"divides by {wanted}"
            yield JobFault(
                key=stated.key,
                problem=f"{show(value)}, but {mechanism} {how}",
                hint="leave it out",
            )
