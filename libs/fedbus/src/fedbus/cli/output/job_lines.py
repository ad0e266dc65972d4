"""Lines about a job's rounds, their traffic and the job's end."""

from collections.abc import Sequence

from fedbus.cli.output import display
from fedbus.cli.output.epsilon_text import format_spent, format_sum, is_alone
from fedbus.client.failures import Failed
from fedbus.energy.energy_sums import format_energy
from fedbus.text import counted
from fedbus.wire.documents import JobState, RoundState


def round_line(done: RoundState) -> str:
    """Format one finished round."""
    metrics = display.format_held_out(done.metrics) or "no metrics"
    if done.privacy is not None:
        return f"round {done.round:>3}  {metrics}  {format_spent(done.privacy)}"
    left_out = f", {len(done.refusals)} left out" if done.refusals else ""
    energy = "" if done.energy is None else f", {format_energy(done.energy, phases=False)}"
    return (
        f"round {done.round:>3}  {metrics}  "
        f"{counted(len(done.contributors), 'agent')}{left_out}, {counted(done.examples, 'example')}"
        f"{energy}{_traffic_text(done)}"
    )


def _traffic_text(done: RoundState) -> str:
    """Format what a round has sent, if it is not the weights of the model as they are."""
    moved, agents = done.traffic, len(done.contributors)
    if moved is None or not moved.plain or not agents:
        return ""
    made = ""
    up, down = moved.updates / (agents * moved.plain), moved.version / moved.plain
    if round(100 * up) != 100:  # noqa: PLR2004 - per cent
        made += f", updates: {display.format_size(moved.updates)}, {100 * up:.0f} % of plain"
    if moved.version != moved.plain:
        made += f", version: {display.format_size(moved.version)}, {100 * down:.0f} %"
    return made


def format_traffic_sum(rounds: Sequence[RoundState]) -> str:
    """Format the bytes of all rounds that tell them, and what steps have saved; "" if none does.

    Each contributor downloads the version and sends an update; without steps both have the bytes of
    the plain weights. Agents whose updates were refused are not counted.
    """
    told = [done for done in rounds if done.traffic is not None and done.contributors]
    if not told:
        return ""
    updates = sum(done.traffic.updates for done in told if done.traffic)
    versions = sum(done.traffic.version * len(done.contributors) for done in told if done.traffic)
    plain = sum(done.traffic.plain * len(done.contributors) for done in told if done.traffic)
    share = 100 * (updates + versions) / (2 * plain) if plain else 100
    saved = f", {share:.0f} % of plain" if round(share) != 100 else ""  # noqa: PLR2004 - per cent
    missing = f", in {len(told)} of {len(rounds)} rounds" if len(told) < len(rounds) else ""
    return (
        f"updates {display.format_size(updates)}, versions {display.format_size(versions)}"
        f"{saved}{missing}"
    )


def report_end(end: JobState, *, as_json: bool) -> None:
    """Print how a finished job ended, unless its states were printed as JSON.

    Raises:
        Failed: the job failed or was cancelled.
    """
    if end.phase != "finished":
        raise Failed(f"job {end.job} {end.phase}: {end.reason}")
    if not as_json:
        display.show(f"job {end.job} finished: {end.reason}")
        metrics = display.format_metrics(end.metrics) or "no metrics"
        display.show(f"{end.model} version {end.version}: {metrics}")
        if end.energy is not None:
            display.show(f"job {end.job} has used {format_energy(end.energy)}")
        if end.privacy is not None:
            display.show(f"job {end.job} has spent {format_spent(end.privacy)}")
        if end.privacy is not None and not is_alone(end.privacy):
            display.show(
                f"all jobs on {end.model} have spent {format_sum(end.privacy)}; "
                f"`fedbus privacy show {end.model}` explains it"
            )
