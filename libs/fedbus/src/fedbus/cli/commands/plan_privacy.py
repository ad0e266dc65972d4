"""`fedbus privacy plan`: the noise that each privacy mechanism needs for an ε."""

import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fedbus.cli.context import AsJson
from fedbus.cli.interruptible import run_interruptible
from fedbus.cli.output import display
from fedbus.cli.output.privacy_plan import Curves, distinct, plain_plan, show_plan
from fedbus.errors import SettingsError
from fedbus.limits import MAX_COHORT_AGENTS

MOST_PLANNED_ROUNDS = 100_000


def plan_privacy(
    epsilon: Annotated[
        float, typer.Option(help="The ε that the whole job may have; 1 to 8 are usual.")
    ],
    rounds: Annotated[
        int, typer.Option(min=1, max=MOST_PLANNED_ROUNDS, help="Number of rounds of the job.")
    ],
    agents: Annotated[
        int, typer.Option(min=1, max=2**31, help="Number of agents that may take part.")
    ],
    cohort: Annotated[
        int, typer.Option(min=1, max=MAX_COHORT_AGENTS, help="Agents wanted in a round.")
    ],
    delta: Annotated[
        float | None,
        typer.Option(
            help="The δ of ε, below 1 / agents; by default 1e-5, or less for many agents."
        ),
    ] = None,
    accountant: Annotated[
        Literal["pld", "rdp"],
        typer.Option(help="pld: the least noise; rdp: quicker, and a tenth more noise."),
    ] = "pld",
    away: Annotated[
        float,
        typer.Option(
            min=0, max=0.95, help="Share of agents that may be missing at a time, for dp-banded."
        ),
    ] = 0.1,
    clipping_norm: Annotated[
        float, typer.Option(help="Greatest norm of an update; the noise is in proportion to it.")
    ] = 1.0,
    examples: Annotated[
        int | None, typer.Option(min=1, help="For dp-sgd: fewest examples of an agent.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="For dp-sgd: examples in a batch.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="For dp-sgd: epochs of a round.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Plot of the path error against ε: .png, .svg or .pdf."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compute the noise that each privacy mechanism needs for an ε, and what it costs.

    For each mechanism: the noise multiplier for the job file; NOISE, the standard deviation of the
    noise in the mean of a round's updates, for a clipping norm of 1; PATH ERROR, the same in the
    model after each round, as a mean over the rounds: compare mechanisms by it. Then come a picture
    of this error against ε, and keys to paste into a job file. It takes some seconds, and needs no
    cluster.

    fedbus privacy plan --epsilon 4 --rounds 100 --agents 200 --cohort 20
    """
    from fedbus.data.partition.plot import check_plot_file
    from fedbus.privacy.planned_fleet import PlannedFleet

    if plot is not None:
        check_plot_file(plot)
    _check(epsilon, agents, cohort, clipping_norm)
    training = _training(examples, batch, epochs, delta)
    fleet = PlannedFleet(
        agents=agents,
        cohort=cohort,
        rounds=rounds,
        epsilon=epsilon,
        delta=_delta(delta, agents, "agents"),
        accountant=accountant,
        away=away,
        clipping_norm=clipping_norm,
        training=training,
    )
    _show(fleet, plot, as_json=as_json)


def _show(fleet: Any, plot: Path | None, *, as_json: bool) -> None:  # noqa: ANN401 - imported when needed
    """Compute the plan of a fleet, and show it."""
    wheel = display.status("importing dp-accounting")
    with nullcontext(lambda _: None) if as_json else wheel as report:
        planned, curves, skipped = run_interruptible(lambda stop: _computed(fleet, report, stop))
    if not planned:
        raise SettingsError(skipped[0])
    for reason in skipped:
        display.warn(reason)
    if plot is not None:
        _write_plot(plot, fleet, curves)
    if as_json:
        display.print_json(plain_plan(fleet, planned, curves))
    else:
        show_plan(fleet, planned, curves)
        if plot is not None:
            display.show(f"plot: {plot}")


def _computed(
    fleet: Any,  # noqa: ANN401 - imported when needed
    report: Callable[[str], None],
    stop: threading.Event,
) -> tuple[list[Any], Curves, list[str]]:
    """Return the planned mechanisms, their curves, and why others cannot have this ε."""
    from fedbus.privacy.fleet_plan import plan_fleet

    def watch(what: str) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        report(what)

    skipped: list[str] = []
    planned = list(plan_fleet(fleet, watch, skipped.append))
    curves = {}
    for each in planned:
        watch(f"{each.name}: error against ε")
        if each.path_error is not None:
            curves[each.name] = list(each.curve(fleet.rounds))
    return planned, curves, skipped


def _check(epsilon: float, agents: int, cohort: int, clipping_norm: float) -> None:
    if not 0 < epsilon < float("inf"):
        raise SettingsError(f"--epsilon: expected a number above 0, got {epsilon:g}")
    if not 0 < clipping_norm < float("inf"):
        raise SettingsError(f"--clipping-norm: expected a number above 0, got {clipping_norm:g}")
    if cohort > agents:
        raise SettingsError(
            f"--cohort {cohort} is more than --agents {agents}: a round cannot have more agents "
            "than there are"
        )


def _delta(given: float | None, units: int, of_what: str) -> float:
    """Return δ, by default that of a job file.

    Raises:
        SettingsError: It is not above 0 and below 1 / units.
    """
    if given is None:
        return min(1e-5, units**-1.1) if units > 1 else 1e-5
    if not 0 < given < 1 / units:
        raise SettingsError(
            f"--delta: expected a number above 0 and below 1 / {of_what} = {1 / units:g}, got "
            f"{given:g}: with it, publishing all data of one of the {of_what} would be allowed"
        )
    return given


def _training(
    examples: int | None, batch: int | None, epochs: int | None, delta: float | None
) -> Any:  # noqa: ANN401 - imported when needed
    from fedbus.privacy.planned_fleet import ExamplePlan

    if examples is None and batch is None and epochs is None:
        return None
    if examples is None or batch is None or epochs is None:
        raise SettingsError("dp-sgd is planned with all of --examples, --batch and --epochs")
    if batch > examples:
        raise SettingsError(f"--batch {batch} is more than --examples {examples}")
    return ExamplePlan(
        examples=examples,
        batch=batch,
        epochs=epochs,
        delta=_delta(delta, examples, "examples"),
    )


def _write_plot(file: Path, fleet: Any, curves: Curves) -> None:  # noqa: ANN401 - imported when needed
    from fedbus.atomic_write import open_atomic, os_errors_as_store_errors
    from fedbus.cli.output.privacy_plot import draw_plan

    title = f"{fleet.rounds} rounds of {fleet.cohort} of {fleet.agents} agents, δ {fleet.delta:g}"
    content = draw_plan(file.suffix.lower(), title, distinct(curves))
    with os_errors_as_store_errors(file), open_atomic(file) as picture:
        picture.write(content)
