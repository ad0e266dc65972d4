"""The state machines of a store on MongoDB, whose writes fail, or whose answers are lost."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from fedbus.errors import StoreError
from fedbus_repository.stores.mongo.mongo_settings import MongoSettings
from fedbus_repository.stores.mongo.mongo_store import MongoStore
from tests.repository.conftest import DatabaseOfName
from tests.repository.stores.mongo_faults import WriteFault, digests_in_gridfs, open_store
from tests.repository.stores.mongo_server import MongoServer
from tests.repository.stores.test_anchor_machine import AnchorMachine
from tests.repository.stores.test_ledger_machine import AskedMachine, LedgerMachine
from tests.repository.stores.test_name_machine import NameMachine
from tests.repository.stores.test_store_machine import StateMachine, StoreMachine

_databases = count(1)


class OnMongo(RuleBasedStateMachine):
    """What a machine does differently: its store."""

    server: MongoServer
    over_tls: DatabaseOfName | None = None
    keep = 3
    database = ""
    fault: WriteFault

    def opened(self) -> MongoStore:
        """Open the store of this example."""
        if not self.database:
            self.database = f"machine_{next(_databases)}"
            self.fault = WriteFault()
        folder = Path(self.folder.name)  # type: ignore[attr-defined]  # of each machine
        where = self.over_tls or (lambda name: MongoSettings(self.server.url(name)))
        return open_store(where(self.database), folder, on_step=self.fault, keep=self.keep)

    def digests(self) -> set[str]:
        """Return what the store has, from GridFS."""
        return digests_in_gridfs(self.server.url(self.database))


class FailingOnMongo(OnMongo):
    """The same with faults, and with what a machine expects after one."""

    def tried(self, call: Callable[[], object]) -> object:
        """Do something on a database that may fail; what asks again gets an answer."""
        try:
            return call()
        except StoreError:
            return call()
        finally:
            self.fault.step = ""

    @rule(step=st.sampled_from(("record", "recorded")), after=st.integers(0, 2))
    def break_the_disk(self, step: str, after: int) -> None:
        """The next thing that comes to this step fails."""
        self.fault.step, self.fault.left = step, after


MACHINES = pytest.mark.parametrize(
    "machine",
    [StoreMachine, StateMachine, NameMachine, LedgerMachine, AskedMachine, AnchorMachine],
    ids=lambda machine: machine.__name__,
)


@MACHINES
def test_a_mongodb_store_stays_consistent(
    machine: type[RuleBasedStateMachine], mongo_server: MongoServer
) -> None:
    """Whatever requests arrive in whatever order, and whichever write fails."""
    run_machine(machine, {"server": mongo_server})


@MACHINES
def test_a_mongodb_store_over_tls_with_a_login_stays_consistent(
    machine: type[RuleBasedStateMachine], mongo_server: MongoServer, mongo_tls: DatabaseOfName
) -> None:
    """As one without; fewer steps show it, since TLS and the login know nothing of requests."""
    fields = {"server": mongo_server, "over_tls": staticmethod(mongo_tls)}
    run_machine(machine, fields, examples=2 if machine is StoreMachine else 1, steps=10)


def run_machine(
    machine: type[RuleBasedStateMachine],
    fields: dict[str, object],
    *,
    examples: int = 4,
    steps: int = 20,
) -> None:
    """Run a machine with what it does differently on MongoDB."""
    anchors = machine is AnchorMachine
    on, keep = (OnMongo, 2) if anchors else (FailingOnMongo, 3)
    on_mongo = type(f"{machine.__name__}OnMongo", (on, machine), fields | {"keep": keep})
    run_state_machine_as_test(
        on_mongo,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
            suppress_health_check=list(HealthCheck),
        ),
    )
