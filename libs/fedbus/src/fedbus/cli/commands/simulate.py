"""`fedbus simulate`: a job in one process, on a simulated network and clock."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from fedbus.cli.cluster_start import digits_model
from fedbus.cli.commands.job_check import warnings_about
from fedbus.cli.context import AsJson
from fedbus.cli.inputs.dataset_option import Options, read_options
from fedbus.cli.inputs.job_argument import read_job_file
from fedbus.cli.inputs.model_argument import (
    Answers,
    Classes,
    Config,
    ModelOptions,
    Shape,
    WeightsFile,
    packed_model,
)
from fedbus.cli.inputs.model_options import read_classes
from fedbus.cli.inputs.random_seeds import seeded
from fedbus.cli.inputs.simulation_data import read_partitions
from fedbus.cli.inputs.split_option import Split, check_split
from fedbus.cli.interruptible import run_interruptible
from fedbus.cli.output import display
from fedbus.cli.output.job_lines import report_end, round_line
from fedbus.cli.output.job_refusal import refused_before_start
from fedbus.cli.output_files import check_writable, write_weights
from fedbus.cli.signals import PROCESS_END
from fedbus.client.failures import Failed
from fedbus.client.model_factory import is_factory
from fedbus.client.model_outputs import OutputOptions
from fedbus.client.packed_model import PackedModel
from fedbus.errors import SettingsError
from fedbus.frameworks.outputs import loss_contradiction
from fedbus.interruption import temporary_folder
from fedbus.jobs import (
    JobFault,
    JobFile,
    JobFileError,
    parse,
)
from fedbus.limits import MAX_COHORT_AGENTS
from fedbus.text import counted
from fedbus.wire import codec


def simulate(
    job: Annotated[
        Path, typer.Argument(metavar="JOB", help="A job file, JSON; - reads standard input.")
    ],
    agents: Annotated[
        int | None,
        typer.Option(
            min=1, max=MAX_COHORT_AGENTS, help="By default the number that the job asks for."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="agent.NAME.npz and held_out.npz; the digits by default. With plugins.loader in "
            "the job, agent.NAME and held_out in the loader's format.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC.json|MODULE:FACTORY",
            help="As for `models push`; the digits model by default.",
        ),
    ] = None,
    weights: WeightsFile = None,
    config: Config = None,
    shape: Shape = None,
    answers: Answers = None,
    classes: Classes = None,
    split: Split = None,
    seed: Annotated[int, typer.Option(help="The same seed repeats the same run.")] = 0,
    rough: Annotated[
        bool, typer.Option("--rough", help="Lose, repeat and delay messages.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE.npz", help="Write the final weights."),
    ] = None,
    loader_options: Options = "{}",
    as_json: AsJson = False,
) -> None:
    """Run a job in this process, to try plug-ins, data and job files.

    Services and agents run the code of real machines; network and clock are simulated, and times
    count from 1970, so that a seed repeats the same run. Exits 0 if the job finished, 1 if it
    failed, 2 if it is refused; --json then prints the faults as the controller does.
    """
    # The simulation needs the packages of the services, unlike other commands.
    from fedbus.simulation.network_faults import NO_FAULTS, ROUGH_LINKS
    from fedbus.simulation.run import SimulationFailed, SimulationStuck
    from fedbus.simulation.run import simulate as run_simulation
    from fedbus.strategies.combinations import strategy_faults
    from fedbus.strategies.encryption_key_faults import UNKNOWN_KEY
    from fedbus.strategies.resolution import resolve_job

    payload = read_job_file(str(job))
    try:
        parsed = parse(payload, partial(strategy_faults, encryption=UNKNOWN_KEY))
    except JobFileError as error:
        raise refused_before_start(job, error.faults, as_json=as_json) from error
    for warning in warnings_about(parsed, resolve_job(parsed, encryption=UNKNOWN_KEY)):
        display.warn(warning)
    check_split(split, data)
    if output is not None:
        check_writable(output)
        if output.suffix.lower() != ".npz":
            raise SettingsError(f"-o: expected a file that ends in .npz, got {output}")
    outputs = OutputOptions(answers=answers, classes=read_classes(classes))
    model_options = ModelOptions(weights=weights, config=config, shape=shape, outputs=outputs)
    with seeded(seed):
        packed = _model(model, model_options, parsed.model_name)
    _check_model(job, parsed, packed, as_json=as_json)
    with _temporary_files() as folder:
        options = read_options(loader_options)
        partitions, held_out = read_partitions(parsed, data, folder, agents, split, options)
        try:
            bar = display.progress(counted(len(partitions), "agent"), parsed.num_rounds)
            with nullcontext(lambda _: None) if as_json else bar as advance:
                finished = run_interruptible(
                    lambda stop: run_simulation(
                        payload,
                        packed,
                        partitions,
                        held_out=held_out,
                        seed=seed,
                        faults=ROUGH_LINKS if rough else NO_FAULTS,
                        watch=lambda done: advance(round_line(done)),
                        stop=stop,
                        loader_options=options,
                    )
                )
        except SimulationStuck as error:
            raise Failed(str(error)) from error
        except SimulationFailed as error:
            raise refused_before_start(job, error.faults, str(error), as_json=as_json) from error
    if output is not None:
        write_weights(output, finished.weights)
    end = finished.state
    if as_json:
        rounds = [codec.to_plain(done) for done in finished.rounds]
        display.print_json(
            {**codec.to_plain(end), "rounds": rounds, "messages": asdict(finished.message_counts)}
        )
    elif rough:
        counts = finished.message_counts
        display.show(
            f"of {counts.sent} messages {counts.lost} were lost, {counts.repeated} repeated and "
            f"{counts.delayed} delayed"
        )
    report_end(end, as_json=as_json)


@contextmanager
def _temporary_files() -> Iterator[Path]:
    """Yield a folder for all temporary files of this process, and remove it at the end."""
    before, variable = tempfile.tempdir, os.environ.get("TMPDIR")
    with temporary_folder("fedbus-simulate-") as folder:
        PROCESS_END.folders.append(str(folder))
        tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
        try:
            yield folder
        finally:
            tempfile.tempdir = before
            os.environ.pop("TMPDIR")
            if variable is not None:
                os.environ["TMPDIR"] = variable


def _model(what: str | None, options: ModelOptions, name: str) -> PackedModel:
    if what is None:
        if options != ModelOptions():
            raise SettingsError(
                "--weights, --config, --input, --answers and --classes need --model"
            )
        return digits_model()
    if is_factory(what):  # its model gets the name in the job
        options = replace(options, name=name)
    return run_interruptible(lambda _: packed_model(what, options))


def _check_model(job: Path, parsed: JobFile, packed: PackedModel, *, as_json: bool) -> None:
    """Reject a model of another name; warn if the job's loss contradicts the model's spec."""
    if packed.push.model != parsed.model_name:
        problem = f"expected {packed.push.model!r}, the simulated model, got {parsed.model_name!r}"
        hint = "name that model's spec or factory with --model, or change model_name"
        fault = JobFault(key="model_name", problem=problem, hint=hint)
        raise refused_before_start(job, (fault,), as_json=as_json)
    warning = loss_contradiction(packed.spec().answers, parsed.eval_func)
    if warning and "eval_func" in parsed.model_fields_set:
        display.warn(warning)
