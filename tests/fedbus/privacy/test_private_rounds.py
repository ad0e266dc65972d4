"""Private jobs on real data in memory: what ε costs, and that the services reach the same."""

from dataclasses import replace

import pytest

from benchmarks.privacy.private_rounds import PrivateRounds, with_epsilon
from benchmarks.privacy.private_services import CANDIDATE, SETTING, checked_services
from benchmarks.privacy.private_settings import PrivateMechanism

SMALL = replace(SETTING, rounds=8)
POISSON = PrivateMechanism(key="dp-fixed", poisson=True)
ADAPTIVE = PrivateMechanism(key="dp-adaptive", poisson=True)
BANDED = PrivateMechanism(key="dp-banded")
FIXED = PrivateMechanism(key="dp-fixed")


@pytest.mark.parametrize("mechanism", [POISSON, ADAPTIVE, BANDED, FIXED])
def test_the_ledger_of_a_job_adds_up_to_at_most_the_planned_epsilon(
    mechanism: PrivateMechanism,
) -> None:
    """Noise is planned before the first round, and accounted from what took place."""
    rounds = PrivateRounds(SMALL, with_epsilon(SMALL, mechanism, 4.0), CANDIDATE, 0)
    rounds.run()
    spent = rounds.epsilon()
    assert spent is not None
    assert 2 < spent <= 4
    assert rounds.ledger.entries == SMALL.rounds


def test_accuracy_falls_with_epsilon() -> None:
    """ε 16 costs little, ε 0.1 destroys the model, and no privacy has no ε."""
    plain = PrivateRounds(SMALL, PrivateMechanism(), CANDIDATE, 0)
    best = plain.run()[-1]
    assert plain.epsilon() is None
    found = {}
    for epsilon in (16.0, 0.1):
        rounds = PrivateRounds(SMALL, with_epsilon(SMALL, POISSON, epsilon), CANDIDATE, 0)
        found[epsilon] = rounds.run()[-1]
    assert best > 0.8
    assert found[16.0] > best - 0.1
    assert found[0.1] < best - 0.3


def test_the_real_services_reach_the_same_accuracy_and_spend_the_same_epsilon() -> None:
    """The same job file with agents that train by PyTorch, in other batches, with other noise."""
    setting = replace(SETTING, agents=40, cohort=20, rounds=4)
    found = checked_services("dp-banded", BANDED, setting)
    assert found.services_epsilon == found.in_memory_epsilon
    assert found.services == pytest.approx(found.in_memory, abs=0.15)
    assert found.services > 0.3
