"""A whole job in one process without a broker, to try a plug-in, a partition or a job file.

    from fedbus.simulation.run import model_of, simulate

    result = simulate(job, model, {"agent.1": data_1, "agent.2": data_2}, held_out=held_out)

The cores, the bytes on the wire and the training are those of a deployment; the
network and the clock are simulated.
"""

import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from fedbus.client.packed_model import PackedModel, packed
from fedbus.data import Dataset
from fedbus.interruption import temporary_folder
from fedbus.plugins import DescribesRoles, TrainerFactory
from fedbus.simulation.network_faults import NO_FAULTS, NetworkFaults
from fedbus.simulation.published_job import SimulationFailed, SimulationStuck
from fedbus.simulation.simulated_job import SimulatedJob, SimulationResult
from fedbus.wire.documents import RoundState

__all__ = ["SimulationFailed", "SimulationResult", "SimulationStuck", "model_of", "simulate"]


def model_of(name: str, trainer: TrainerFactory, architecture: Mapping[str, Any]) -> PackedModel:
    """Make a model from a trainer's initial weights; its spec names the trainer `own`."""
    made = trainer(architecture)
    roles = made.roles() if isinstance(made, DescribesRoles) else {}
    plain = {"model": name, "architectures": {"own": dict(architecture)}}
    return packed(plain, made.initial(), {}, roles)


def simulate(  # noqa: PLR0913 - a job, a model and data; the rest has defaults
    job: Mapping[str, Any] | bytes,
    model: PackedModel,
    data: Mapping[str, Dataset | Path],
    *,
    held_out: Dataset | Path | None = None,
    own: Mapping[str, TrainerFactory] | None = None,
    seed: int = 0,
    faults: NetworkFaults = NO_FAULTS,
    watch: Callable[[RoundState], None] = lambda _: None,
    stop: threading.Event | None = None,
    loader_options: Mapping[str, Any] | None = None,
) -> SimulationResult:
    """Run a job to its end.

    Args:
        job: A job file, as a mapping or as its bytes.
        data: Each training agent's data, by the agent's name without its role. A path is read by
            the loader that the job chooses, else by the one that fits the path.
        held_out: Data of an evaluator, which measures each version; None: training metrics count.
        own: Trainers by name, in addition to installed plug-ins.
        seed: Seed of all randomness but what no seed may tell: the noise of private jobs, and
            rounding, masks and keys of hidden updates. The same seed replays the same run.
        faults: Faults of the simulated network.
        watch: Called with each finished round.
        stop: Ends the simulation at its next step when another thread sets it.
        loader_options: Options of the loader, for data given as paths.

    Raises:
        SimulationFailed: the job was refused; the message lists every fault.
        SimulationStuck: the job waits for agents that do not exist.
        KeyboardInterrupt: `stop` was set, or Ctrl-C was pressed, also where a trainer caught it.
    """
    file = job if isinstance(job, bytes) else json.dumps(dict(job)).encode()
    stop = stop or threading.Event()
    with temporary_folder("fedbus-simulation-") as folder, _interruptible(stop):
        run = SimulatedJob(folder, file, seed, faults, watch, stop, loader_options or {})
        try:
            run.start_services(model, data, held_out, own or {})
            return run.run_job()
        finally:
            run.close()


@contextmanager
def _interruptible(stop: threading.Event) -> Iterator[None]:
    """Set `stop` at Ctrl-C, so that the simulation ends even if a trainer was interrupted by it.

    An agent reports every exception of a trainer as a failed training. In an agent's own process
    that is right, since signals are handled in another thread than the trainer's.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
