"""Energy of a job in the store: of its rounds, and of their evaluations."""

from dataclasses import replace

from fedbus.wire.energy import EnergyUsed
from fedbus_repository.stores.base import Store
from tests.repository.harness import JOB, begin, commit_next

TRAINED = EnergyUsed(joules={"training": 30.0, "transfer": 1.0}, grams=2.0)
EVALUATED = EnergyUsed(joules={"evaluation": 4.0}, grams=0.5)


def test_the_energy_of_a_job_is_that_of_its_rounds_and_evaluations(store: Store) -> None:
    """So a controller that takes the job over knows it; an evaluation counts once."""
    begin(store)
    assert store.energy(JOB) is None
    commit_next(store, 1.0)
    assert store.energy(JOB) is None
    commit_next(store, 2.0, energy=TRAINED)
    assert store.energy(JOB) == TRAINED
    both = replace(TRAINED, joules={**TRAINED.joules, "evaluation": 4.0}, grams=2.5)
    for _ in range(2):
        store.store_evaluation(0, JOB, 2, {"accuracy": 0.5}, EVALUATED)
        assert store.energy(JOB) == both
    store.store_evaluation(0, JOB, 1, {"accuracy": 0.5}, EVALUATED)
    assert store.energy(JOB) == EnergyUsed(
        joules={"training": 30.0, "evaluation": 8.0, "transfer": 1.0}, grams=3.0
    )
    assert store.energy("other") is None
