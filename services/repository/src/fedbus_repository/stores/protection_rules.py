"""Rules of jobs whose updates are encrypted or masked: their bases, plans and commits. Pure.

An encrypted version is a distance from its anchor, the newest plain version before it, and only the
key of that distance reads it: so a job continues the anchor and the key of its base.
"""

from dataclasses import replace
from typing import Final

from fedbus.text import counted, listed
from fedbus.wire.blobs import EncryptedVersion
from fedbus.wire.encryption import EncryptionTerms
from fedbus.wire.round_records import Contributor, Plan, RoundRecord
from fedbus.wire.strategies import NO_FACTS, Strategy
from fedbus.wire.strategy_text import strategy_differences
from fedbus_repository.stores.privacy_rules import PRIVACY_KEY
from fedbus_repository.stores.records import StoredJob, StoreRefusal, Version

HOMOMORPHIC_KEY: Final = f"{PRIVACY_KEY}.homomorphic"
LEAST_MASKED_AGENTS: Final = 3
"""Agents of a masked round: the sum of two tells each of them the update of the other."""
LEAST_ENCRYPTED_UPDATES: Final = 2
"""Updates of an encrypted round: who reads or releases the sum of one reads that agent's update."""
_SHOWN_DIGITS: Final = 12


def short_key(key: str) -> str:
    """Return the first digits of the id of a key, for a sentence."""
    return f"{key[:_SHOWN_DIGITS]}…"


def encryption_of(terms: EncryptionTerms, parent: Version) -> EncryptedVersion:
    """Return how a version is encrypted that a round with these terms makes from its parent."""
    if parent.encryption is None:
        anchor, anchor_weights = parent.version, parent.weights
    else:
        anchor, anchor_weights = parent.encryption.anchor, parent.encryption.anchor_weights
    return EncryptedVersion(
        scheme=terms.scheme,
        key=terms.key,
        parameters=terms.parameters,
        anchor=anchor,
        anchor_weights=anchor_weights,
    )


def encrypted_base_refusal(strategy: Strategy | None, base: Version) -> StoreRefusal | None:
    """Return why a new job cannot train from the latest version, which is encrypted; or None."""
    found = base.encryption
    if found is None:
        return None
    what = f"version {base.version} of model {base.model!r} is encrypted with the key"
    terms = None if strategy is None else strategy.encryption
    if terms is None:
        return StoreRefusal(
            f"{what} {short_key(found.key)}, and this job does not encrypt its updates; have a key "
            f"holder release it: `fedbus models release {base.model} --key FILE`, or give "
            f"{HOMOMORPHIC_KEY}",
            "model_name",
        )
    if terms.key != found.key:
        return StoreRefusal(
            f"{what} {short_key(found.key)}, and this job's key is {short_key(terms.key)}; have a "
            f"key holder encrypt it with the new one: `fedbus keys rotate {base.model} --old-key "
            "FILE --new-key FILE`, or start all nodes with the key of the version",
            HOMOMORPHIC_KEY,
        )
    return None


def protected_plan_fault(plan: Plan, job: StoredJob, base: Version | None) -> str | None:
    """Return why the plan of a job must be refused for its ranges, weights or agents; or None.

    How many tensors the ranges are for, the store does not know: `handlers/protected_jobs.py`.
    """
    strategy = job.strategy or job.latest.strategy
    if base is not None and plan.base.encryption != base.encryption:
        return (
            f"the plan of task {plan.task} says that version {base.version} is encrypted otherwise"
        )
    fixed_point = None if strategy is None else strategy.fixed_point
    if strategy is None or fixed_point is None:
        if plan.ranges or plan.max_examples != 1:
            return f"the plan of task {plan.task} has ranges, and its updates are not whole numbers"
        return None
    if plan.max_examples > fixed_point.max_examples:
        return (
            f"the plan of task {plan.task} counts {plan.max_examples} examples as a weight of 1,"
            f" and the job allows {fixed_point.max_examples}"
        )
    first = (fixed_point.first_range,) * len(plan.ranges)
    expected = plan.state.ranges if plan.state is not None and plan.state.ranges else first
    if not plan.ranges or plan.ranges != expected:
        return f"the plan of task {plan.task} has other ranges than the last round found"
    return _cohort_fault(plan, strategy, fixed_point.max_agents)


def protected_commit_fault(
    record: RoundRecord, plan: Plan, parent: Version, stored: Strategy | None
) -> str | None:
    """Return why a round must be refused for how its version is encrypted, or its updates; or None.

    `stored` is the strategy that the job was stored with.
    """
    strategy = record.strategy
    terms = strategy.encryption
    protects = any(each is not None and each.fixed_point for each in (stored, strategy))
    if protects and stored is not None and (differs := strategy_differences(strategy, stored)):
        return (
            f"the round's strategy is not that which job {record.job!r} was stored with: "
            f"{'; '.join(differs)}"
        )
    expected = None if terms is None else encryption_of(terms, parent)
    if record.encryption != expected:
        return _encryption_fault(record, expected)
    if parent.encryption is not None and (terms is None or terms.key != parent.encryption.key):
        had, has = parent.encryption.key, "none" if terms is None else short_key(terms.key)
        return (
            f"version {parent.version} is encrypted with the key {short_key(had)}, and the round"
            f" continues it with {has}"
        )
    if strategy.fixed_point is None:
        return None
    ranges = () if record.state is None else record.state.ranges
    if len(ranges) != len(plan.ranges):
        return (
            f"expected {counted(len(plan.ranges), 'range')} for the next round, got {len(ranges)}"
        )
    least = _least_updates(strategy, strategy.fixed_point.max_agents)
    return (
        _metrics_fault(record)
        or next(
            filter(None, (_contributor_fault(each, plan, record) for each in record.contributors)),
            None,
        )
        or _few_updates_fault(record, least)
    )


def _least_updates(strategy: Strategy, agents: int) -> int:
    """Return the fewest updates whose sum may become a version of a job of this many agents.

    A job of one agent asks for its update alone, and every version shows what it did.
    """
    least = LEAST_ENCRYPTED_UPDATES if strategy.masking is None else LEAST_MASKED_AGENTS
    return min(least, agents)


def _cohort_fault(plan: Plan, strategy: Strategy, most: int) -> str | None:
    agents = len(plan.cohort)
    if agents > most:
        return (
            f"the plan of task {plan.task} asks {counted(agents, 'agent')}, and the sum of the"
            f" job's whole numbers holds {most}"
        )
    if strategy.masking is not None and agents < LEAST_MASKED_AGENTS:
        return (
            f"the plan of task {plan.task} asks {counted(agents, 'agent')}; a masked round needs "
            f"{LEAST_MASKED_AGENTS}"
        )
    if plan.quorum < (least := _least_updates(strategy, most)):
        return (
            f"the plan of task {plan.task} needs {counted(plan.quorum, 'update')}; the sum of fewer"
            f" than {least} does not hide what is in it"
        )
    return None


def _encryption_fault(record: RoundRecord, expected: EncryptedVersion | None) -> str:
    found = record.encryption
    if expected is None:
        return "the round states that its version is encrypted, and its strategy does not encrypt"
    if found is None:
        return "the round's strategy encrypts, and it does not state how its version is encrypted"
    names = ("scheme", "key", "parameters", "anchor", "anchor_weights")
    differ = [name for name in names if getattr(expected, name) != getattr(found, name)]
    return (
        f"the encryption of the round's version is not that of its parent and its strategy: "
        f"{listed(differ)}"
    )


def _few_updates_fault(record: RoundRecord, least: int) -> str | None:
    if len(record.contributors) >= least:
        return None
    return (
        f"the sum of {counted(len(record.contributors), 'update')} does not hide what is in it; at"
        f" least {least} are expected"
    )


def _metrics_fault(record: RoundRecord) -> str | None:
    if record.metrics:
        return "updates of the round are whole numbers, and it states metrics of training"
    return None


def _contributor_fault(contributor: Contributor, plan: Plan, record: RoundRecord) -> str | None:
    facts = contributor.facts
    if "norm_bit" in record.strategy.facts:  # a mechanism asks for it, and its noise is for it, too
        facts = replace(facts, norm_bit=None)
    if contributor.metrics or facts != NO_FACTS:
        return f"{contributor.agent}'s update is protected, and the round states figures of it"
    if contributor.examples > plan.max_examples:
        return (
            f"{contributor.agent} counts with {contributor.examples} examples, and the plan allows"
            f" {plan.max_examples}"
        )
    return None
