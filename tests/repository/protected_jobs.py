"""Strategies, plans and records of encrypted and masked jobs, for tests."""

from dataclasses import replace
from typing import Any

from fedbus.wire.encryption import EncryptionTerms, FixedPoint
from fedbus.wire.round_records import Plan, RoundRecord
from fedbus.wire.secure_aggregation import SecureAggregationTerms
from fedbus.wire.strategies import StrategyState
from fedbus_repository.stores.protection_rules import encryption_of
from fedbus_repository.stores.records import StoredJob, Version
from tests.repository.harness import FEDAVG, plan_of, record_of

ENCRYPTION_KEY, OTHER_ENCRYPTION_KEY = "1a" * 32, "2b" * 32
FIXED_POINT = FixedPoint(bits=11, max_agents=3, max_examples=100, first_range=1)
ENCRYPTION = EncryptionTerms(
    scheme="bfv",
    key=ENCRYPTION_KEY,
    parameters="c" * 64,
    poly_modulus_degree=4096,
    coeff_mod_bit_sizes=(54, 55),
    plain_modulus=65537,
    fields=2,
    fixed_point=FIXED_POINT,
)
ENCRYPTED = replace(FEDAVG, encryption=ENCRYPTION)
MASKED = replace(
    FEDAVG,
    masking=SecureAggregationTerms(
        fixed_point=FIXED_POINT, neighbours=20, threshold=0.67, step_seconds=10.0
    ),
)


def protected_plan(job: StoredJob, **changes: Any) -> Plan:  # noqa: ANN401 - fields of a plan
    """The next round of a protected job, whose model shares two tensors."""
    state = job.state
    ranges = (FIXED_POINT.first_range,) * 2 if state is None else state.ranges
    stated: dict[str, Any] = {"ranges": ranges, "max_examples": 100}
    return plan_of(job, **(stated | changes))


def protected_record(
    plan: Plan,
    parent: Version,
    ranges: tuple[int, ...] = (0, -3),
    **changes: Any,  # noqa: ANN401 - fields of a record
) -> RoundRecord:
    """An encrypted round as its collector would record it; `ranges` are those of the next one."""
    rounds = 1 if plan.state is None else plan.state.rounds + 1
    stated: dict[str, Any] = {
        "strategy": ENCRYPTED,
        "metrics": {},
        "state": StrategyState(rounds=rounds, ranges=ranges),
        "encryption": encryption_of(ENCRYPTION, parent),
    }
    return record_of(plan, **(stated | changes))
