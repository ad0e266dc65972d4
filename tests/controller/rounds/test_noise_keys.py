"""Agreement on the noise key: which rounds are planned, with which key, and what is said else."""

import pytest

from fedbus.wire.messages import PlanRefused
from fedbus.wire.privacy import PrivacyTerms
from fedbus_controller import keys
from fedbus_controller.rounds.noise_keys import NoiseKeyChoice, choose_noise_key
from tests.controller.harness import COLLECTOR, JOB, OTHER_COLLECTOR, REPOSITORY
from tests.controller.private_jobs import (
    KEY,
    OTHER_KEY,
    begin_privately,
    committed_privately,
    private_job,
    spent,
    terms,
)

MEND = "give each collector the same file (FEDBUS_NOISE_KEY, read every 30 s)"


@pytest.mark.parametrize(
    ("of", "needed"),
    [
        (None, False),
        (terms(), True),
        (terms(release="banded", correlated=True), True),
        (terms(release="metric"), True),
        (terms(noise="agents"), False),
        (terms(release="laplace", noise="agents"), False),
        (terms(release="dp-sgd", noise="agents"), False),
        (terms(release="features", noise="agents"), False),
    ],
)
def test_only_noise_of_collectors_needs_their_key(of: PrivacyTerms | None, needed: bool) -> None:
    """Noise of agents has fresh keys of their own."""
    chosen = choose_noise_key(of, {COLLECTOR: KEY}, None)
    assert chosen == NoiseKeyChoice(KEY if needed else None)


def test_the_key_of_all_collectors_is_in_the_plan() -> None:
    """Also in that of the next round."""
    harness = begin_privately(private_job(terms()))
    harness.introduce_key(OTHER_COLLECTOR, KEY)
    plan = harness.open_round()
    assert plan.noise_key == KEY
    harness.receive(COLLECTOR, committed_privately(plan, terms(), spent(terms(), 1)))
    assert harness.planned.noise_key == KEY


def test_no_round_is_planned_while_collectors_differ() -> None:
    """The job says who has which key, and how to mend it."""
    harness = begin_privately(private_job(terms()))
    plan = harness.open_round()
    harness.introduce_key(OTHER_COLLECTOR, OTHER_KEY)
    harness.receive(COLLECTOR, committed_privately(plan, terms(), spent(terms(), 1)))
    assert keys.PlanStorage(JOB) not in harness.asks
    has = "collector.1 has 1a1a1a1a1a1a…, collector.2 has 2b2b2b2b2b2b…"
    assert harness.state().reason == f"waiting for one noise key: {has}; {MEND}"
    harness.introduce_key(OTHER_COLLECTOR, KEY, incarnation=2)
    harness.wait(1.0)
    assert harness.planned.noise_key == KEY


def test_the_key_of_a_refused_plan_does_not_bind_the_job() -> None:
    """No noise was drawn with it; its collector may get another one."""
    harness = begin_privately(private_job(terms()))
    assert harness.planned.noise_key == KEY
    harness.receive(
        REPOSITORY, PlanRefused(job=JOB, task=1, kind="cohort", reason="another cohort")
    )
    harness.introduce_key(COLLECTOR, OTHER_KEY, incarnation=2)
    harness.wait(1.0)
    assert harness.planned.noise_key == OTHER_KEY


def test_a_job_waits_for_a_first_key() -> None:
    """One command makes it."""
    stated = {COLLECTOR: None, OTHER_COLLECTOR: None}
    assert choose_noise_key(terms(), stated, None).trouble == (
        "waiting for a noise key: collector.1 has none, collector.2 has none; make one with "
        f"`fedbus privacy key FILE`, and {MEND}"
    )
    stated_by_one = {COLLECTOR: KEY, OTHER_COLLECTOR: None}
    assert choose_noise_key(terms(), stated_by_one, None).trouble == (
        "waiting for one noise key: collector.1 has 1a1a1a1a1a1a…, collector.2 has none; " + MEND
    )


def test_a_job_keeps_the_key_of_its_earlier_plans() -> None:
    """A replaced key would make banded noise wrong; a restarted controller knows the plan's."""
    harness = begin_privately(private_job(terms()))
    plan = harness.open_round()
    harness.introduce_key(COLLECTOR, OTHER_KEY, incarnation=2)
    harness.receive(COLLECTOR, committed_privately(plan, terms(), spent(terms(), 1)))
    reason = (
        "waiting for the job's noise key: this job's earlier rounds have noise of the key "
        f"1a1a1a1a1a1a…, but collector.1 has 2b2b2b2b2b2b…; {MEND}: that of the earlier rounds, or "
        "cancel the job if it is lost"
    )
    assert harness.state().reason == reason
    restarted = begin_privately(private_job(terms(), rounds=1, plan=plan))
    restarted.introduce_key(COLLECTOR, OTHER_KEY, incarnation=2)
    restarted.wait(6.0)
    assert restarted.state_now().reason == reason


def test_a_key_that_cannot_be_used_is_mended_not_replaced() -> None:
    """The collector says what its file lacks; a begun job needs the same key."""
    harness = begin_privately(private_job(terms()))
    plan = harness.open_round()
    why = "noise key /k: its mode is 0644"
    harness.introduce_key(COLLECTOR, None, trouble=why)
    harness.receive(COLLECTOR, committed_privately(plan, terms(), spent(terms(), 1)))
    shown = "`fedbus agents` shows why collector.1 cannot use its file"
    assert harness.state().reason == (
        "waiting for the job's noise key: this job's earlier rounds have noise of the key "
        f"1a1a1a1a1a1a…, but collector.1 has none; {shown}; {MEND}: that of the earlier rounds, or "
        "cancel the job if it is lost"
    )
    assert choose_noise_key(terms(), {COLLECTOR: None}, None, [COLLECTOR]).trouble == (
        f"waiting for a noise key: collector.1 has none; {shown}; {MEND}"
    )
    harness.introduce_key(COLLECTOR, KEY)
    harness.wait(1.0)
    assert harness.planned.noise_key == KEY
