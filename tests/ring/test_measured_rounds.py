"""Energy of a job on the ring: what agents measure is in its records, its state, and published."""

from pathlib import Path

import pytest

from fedbus.energy.energy_sums import total_energy
from fedbus.simulation.oracle import check_records
from fedbus.simulation.services import CONTROLLER
from tests.ring.ring_cluster import RingCluster


@pytest.mark.parametrize("restarts", [False, True])
def test_the_energy_of_a_job_is_that_of_all_its_tasks(tmp_path: Path, *, restarts: bool) -> None:
    """Also if its controller was restarted in the middle."""
    cluster = RingCluster(tmp_path, trains=True)
    cluster.submit(rounds=4, energy=True)
    if restarts:
        cluster.ring.at(4.0, lambda: cluster.ring.kill(CONTROLLER))
        cluster.ring.at(5.0, lambda: cluster.ring.start(CONTROLLER))
    state = cluster.run()
    assert (state.phase, state.round) == ("finished", 4)
    assert state.energy is not None
    end = cluster.ring.now  # the last evaluation is stored a moment after the job's end
    cluster.ring.run(lambda: cluster.ring.now > end + 3, 10)
    assert {"training", "evaluation", "transfer"} <= state.energy.joules.keys()
    with cluster.store() as store:
        check_records(store, cluster.records.updates_of("job-1"))
        stored, records = store.energy("job-1"), [each.record for each in store.history()]
        assert stored is not None
        assert stored.joules == pytest.approx(state.energy.joules)
        assert stored.grams == pytest.approx(state.energy.grams)
        trained = total_energy(each.energy for each in records if each is not None)
        assert trained is not None
        assert trained.joules["training"] == pytest.approx(state.energy.joules["training"])
    cluster.close()
