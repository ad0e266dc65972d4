"""Strategies, plans and records of encrypted and masked jobs, for tests."""

from dataclasses import replace
from typing import Any

from fedbus.encryption.encrypted_blob import encrypted_bounds, planned_header
from fedbus.encryption.encrypted_blob import encrypted_header_bytes as header_bytes
from fedbus.encryption.encryption_terms import encryption_terms
from fedbus.encryption.parameters import choose_parameters
from fedbus.wire.blobs import BlobRef
from fedbus.wire.encryption import FixedPoint
from fedbus.wire.round_records import Plan, RoundRecord
from fedbus.wire.secure_aggregation import SecureAggregationTerms
from fedbus.wire.strategies import StrategyState
from fedbus_repository.stores.protection_rules import encryption_of
from fedbus_repository.stores.records import StoredJob, Version
from tests.repository.harness import AGENTS, FEDAVG, LAYOUT, plan_of, record_of

ENCRYPTION_KEY, OTHER_ENCRYPTION_KEY = "1a" * 32, "2b" * 32
FIXED_POINT = FixedPoint(bits=11, max_agents=3, max_examples=100, first_range=1)
ENCRYPTION = encryption_terms(
    ENCRYPTION_KEY, choose_parameters(bits=11, agents=FIXED_POINT.max_agents), FIXED_POINT
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
    stated: dict[str, Any] = {"ranges": ranges, "max_examples": 100, "quorum": 3}
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


def ciphertexts(
    anchor_weights: BlobRef,
    ranges: tuple[int, ...] = (1, 1),
    count: int = len(AGENTS),
    weight: int = len(AGENTS),
    **changes: Any,  # noqa: ANN401 - fields of a header
) -> bytes:
    """The header of the sum of a round, and bytes that only a key holder would find to be none."""
    planned = planned_header(
        ENCRYPTION, LAYOUT, anchor=anchor_weights.digest, ranges=ranges, max_examples=100
    )
    header = replace(planned.with_sum(count, weight), **changes)
    bounds = encrypted_bounds(ENCRYPTION, LAYOUT)
    return header_bytes(header) + bytes(bounds.least)
