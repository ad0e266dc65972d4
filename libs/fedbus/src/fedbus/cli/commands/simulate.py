"""`fedbus simulate`: a job in one process, with no broker and no waiting."""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from fedbus.cli.cluster_start import digits_model
from fedbus.cli.inputs.dataset_option import Options, read_options
from fedbus.cli.inputs.job_argument import read_job_file
from fedbus.cli.inputs.model_argument import (
    AnswersSaid,
    ClassesSaid,
    Config,
    Given,
    Shape,
    WeightsFile,
    packed_model,
)
from fedbus.cli.inputs.model_options import read_classes
from fedbus.cli.inputs.random_seeds import seeded
from fedbus.cli.inputs.split_option import Split, check_split
from fedbus.cli.interruptible import aside
from fedbus.cli.output import display
from fedbus.cli.output.job_view import round_line
from fedbus.cli.signals import ENDING
from fedbus.cli.weights_file import check_writable, write_weights
from fedbus.client.failures import Failed
from fedbus.client.model_factory import is_factory
from fedbus.client.model_outputs import OutputOptions
from fedbus.client.packing import PackedModel
from fedbus.cluster.partitions import (
    ANYTHING,
    ARRAYS,
    HELD_OUT,
    left_out,
    partition_names,
    partition_paths,
    write_digits,
)
from fedbus.data import Dataset
from fedbus.datasource.config import read
from fedbus.errors import FedbusError, SettingsError
from fedbus.frameworks.outputs import loss_contradiction
from fedbus.interruption import temporary_folder
from fedbus.jobs import (
    JobFault,
    JobFile,
    JobFileError,
    format_faults,
    parse,
    training_params_of,
    write_refusal,
)
from fedbus.limits import MAX_COHORT_AGENTS
from fedbus.text import counted
from fedbus.training.options.inactive_schedulers import inactive_reason
from fedbus.wire import codec
from fedbus.wire.documents import RoundState


def simulate(
    job: Annotated[
        Path, typer.Argument(metavar="JOB", help="A job file, JSON; - reads standard input.")
    ],
    agents: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_COHORT_AGENTS, help="As many as the job asks, by default."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="agent.NAME.npz and held_out.npz; the digits by default. With plugins.loader in "
            "the job, agent.NAME and held_out of whatever kind it reads.",
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
    answers: AnswersSaid = None,
    classes: ClassesSaid = None,
    split: Split = None,
    seed: Annotated[int, typer.Option(help="The same seed plays the same run again.")] = 0,
    rough: Annotated[
        bool, typer.Option("--rough", help="Lose, repeat and delay messages, as bad links do.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.npz", help="Keep the weights.")
    ] = None,
    loader_options: Options = "{}",
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Run a job as it would run on a fleet, in this process: for trying plug-ins, data, job files.

    The services decide and the agents train as they do on real machines; the network and the clock
    are simulated: times count from 1970, so that a seed plays the same run again. Exits 0 if the
    job finished, 1 if it failed, 2 if it is refused: --json then prints the faults as the
    controller would answer them.
    """
    # The simulation needs the services' own packages, which no other command does.
    from fedbus.simulation.network_faults import NO_FAULTS, ROUGH_LINKS
    from fedbus.simulation.run import SimulationFailed, SimulationStuck
    from fedbus.simulation.run import simulate as play

    payload = read_job_file(str(job))
    wish = _wish(job, payload, as_json=as_json)
    if said := inactive_reason(training_params_of(wish)):
        display.warn(said)
    check_split(split, data)
    if output is not None:
        check_writable(output)
        if output.suffix.lower() != ".npz":
            raise SettingsError(f"-o: the weights are written as .npz; {output} ends otherwise")
    stated = OutputOptions(answers=answers, classes=read_classes(classes))
    given = Given(weights=weights, config=config, shape=shape, said=stated)
    with seeded(seed):
        packed = _model(model, given, wish.model_name)
    if packed.push.model != wish.model_name:
        found = (JobFault(key="model_name", problem=_other_model(wish, packed), hint=_MODEL_HINT),)
        raise _refused(job, found, as_json=as_json)
    _warn_of_loss(wish, packed)
    with _own_folder() as folder:
        count = agents or wish.round.agents
        options = read_options(loader_options)
        shards, held_out = _data(data, folder, count, split, wish.plugins.loader, options)
        _check_enough(wish, len(shards))
        try:
            bar = display.progress(counted(len(shards), "agent"), wish.num_rounds)
            with nullcontext(_quiet) if as_json else bar as advance:
                played = aside(
                    lambda stop: play(
                        payload,
                        packed,
                        shards,
                        held_out=held_out,
                        seed=seed,
                        faults=ROUGH_LINKS if rough else NO_FAULTS,
                        watch=partial(_say_round, advance),
                        stop=stop,
                        loader_options=options,
                    )
                )
        except SimulationStuck as error:
            raise Failed(str(error)) from error
        except SimulationFailed as error:
            raise _refused(job, error.faults, str(error), as_json=as_json) from error
    if output is not None:
        write_weights(output, played.weights)
    end = played.state
    if as_json:
        rounds = [codec.to_plain(done) for done in played.rounds]
        display.print_json(
            {**codec.to_plain(end), "rounds": rounds, "messages": asdict(played.message_counts)}
        )
    elif rough:
        counts = played.message_counts
        display.say(
            f"of {counts.sent} messages {counts.lost} were lost, {counts.repeated} came twice and "
            f"{counts.delayed} late"
        )
    if end.phase != "finished":
        raise Failed(f"job {end.job} {end.phase}: {end.reason}")
    if not as_json:
        display.say(f"job {end.job} finished: {end.reason}")
        display.say(f"{end.model} version {end.version}: {display.metrics(end.metrics)}")


@contextmanager
def _own_folder() -> Iterator[Path]:
    """Give a folder in which all lies that anybody here writes, so that nothing of it is left."""
    before, told = tempfile.tempdir, os.environ.get("TMPDIR")
    with temporary_folder("fedbus-simulate-") as folder:
        ENDING.folders.append(str(folder))
        tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
        try:
            yield folder
        finally:
            tempfile.tempdir = before
            os.environ.pop("TMPDIR")
            if told is not None:
                os.environ["TMPDIR"] = told


def _wish(job: Path, payload: bytes, *, as_json: bool) -> JobFile:
    try:
        return parse(payload)
    except JobFileError as error:
        raise _refused(job, error.faults, as_json=as_json) from error


def _refused(job: Path, faults: Sequence[JobFault], why: str = "", *, as_json: bool) -> FedbusError:
    # No service is asked here: what its pure parts find in a file is found on this side.
    if as_json and faults:
        display.print_json(write_refusal("", faults))
    return SettingsError(format_faults(f"{job} is refused", faults) if faults else why)


def _check_enough(wish: JobFile, agents: int) -> None:
    if agents < wish.round.quorum:
        raise SettingsError(
            f"{counted(agents, 'agent')}, and the job's quorum is {wish.round.quorum}: it would "
            "wait for ever; give more --agents, or change round.quorum"
        )


def _data(
    given: Path | None,
    folder: Path,
    agents: int,
    split: str | None,
    loader: str | None,
    options: Mapping[str, Any],
) -> tuple[Mapping[str, Dataset | Path], Dataset | Path]:
    if loader is not None:
        if given is None:
            raise SettingsError(
                f"the job's loader {loader!r} reads files: name their folder with --data, or leave "
                "plugins.loader out"
            )
        found = partition_paths(given, agents)
        _warn_of_rest(given, agents, ANYTHING)
        return found
    if given is None:
        write_digits(folder, agents, split)
        names = [str(number) for number in range(1, agents + 1)]
    else:
        folder, names = given, partition_names(given, agents)
        _warn_of_rest(given, agents, ARRAYS)
    shards = {name: read(folder / f"agent.{name}.npz", "npz", options) for name in names}
    return shards, read(folder / HELD_OUT, "npz", options)


def _warn_of_rest(folder: Path, agents: int, named: str) -> None:
    if said := left_out(folder, agents, named):
        display.warn(said)


def _model(what: str | None, given: Given, name: str) -> PackedModel:
    if what is None:
        if given != Given():
            raise SettingsError(
                "--weights, --config, --input, --answers and --classes belong to a --model"
            )
        return digits_model()
    if is_factory(what):  # whose model is called as the job calls it
        given = replace(given, name=name)
    return aside(lambda _: packed_model(what, given))


_MODEL_HINT = "name that model's spec or factory with --model, or mend model_name"


def _other_model(wish: JobFile, packed: PackedModel) -> str:
    return f"{wish.model_name!r}, and what is simulated is model {packed.push.model!r}"


def _warn_of_loss(wish: JobFile, packed: PackedModel) -> None:
    """Warn of a loss that contradicts the model's spec; one not named is refused by the run."""
    said = loss_contradiction(packed.spec().answers, wish.eval_func)
    if said and "eval_func" in wish.model_fields_set:
        display.warn(said)


def _say_round(advance: Callable[[str], None], done: RoundState) -> None:
    advance(round_line(done))


def _quiet(_: str) -> None:
    """The rounds are printed at the end."""
