"""ε of DP-SGD: what a job promises is what Opacus and dp-accounting compute for its steps."""

import pytest

from fedbus.training.dp_sgd import dp_sgd_steps
from fedbus.training.params import TrainingParams

pytest.importorskip("torch")
pytest.importorskip("opacus")
pytest.importorskip("dp_accounting")

import dp_accounting as dp
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from opacus.accountants import RDPAccountant as OpacusAccountant  # type: ignore[import-untyped]  # it has no types

from fedbus.privacy.accounting import epsilon_of
from fedbus.privacy.ledger import planned_composition
from tests.fedbus.privacy.privacy_examples import terms

DELTA = 1e-5


@pytest.mark.parametrize(
    ("sigma", "batch", "least", "epochs", "rounds"),
    [(1.0, 32, 320, 1, 5), (0.7, 10, 100, 2, 10), (2.0, 50, 100, 3, 4), (1.1, 64, 6000, 1, 3)],
)
def test_the_epsilon_of_the_terms_is_that_of_other_accountants(
    sigma: float, batch: int, least: int, epochs: int, rounds: int
) -> None:
    """RDP: within 1 % of Opacus, whose orders are others, and never below dp-accounting's."""
    plan = dp_sgd_steps(TrainingParams(batch_size=batch, epochs=epochs), least)
    promised = {
        accountant: terms(
            release="dp-sgd",
            unit="example",
            noise="agents",
            noise_multiplier=sigma,
            rate=plan.rate,
            steps=plan.total,
            delta=DELTA,
            accountant=accountant,
        )
        for accountant in ("rdp", "pld")
    }
    opacus = OpacusAccountant()
    opacus.history = [(sigma, plan.rate, plan.total * rounds)]
    event = dp.SelfComposedDpEvent(
        dp.PoissonSampledDpEvent(plan.rate, dp.GaussianDpEvent(sigma)), plan.total * rounds
    )
    found = {}
    for accountant, made in (("rdp", RdpAccountant()), ("pld", PLDAccountant())):
        composition = planned_composition(promised[accountant], rounds, rounds)
        epsilon = epsilon_of(promised[accountant], composition)
        assert epsilon is not None
        found[accountant] = epsilon
        exact = made.compose(event).get_epsilon(DELTA)
        assert exact * (1 - 1e-6) <= epsilon <= exact * 1.02, accountant
    assert found["rdp"] == pytest.approx(opacus.get_epsilon(DELTA), rel=0.01)
    assert found["pld"] <= found["rdp"]
