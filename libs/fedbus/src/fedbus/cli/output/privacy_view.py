"""View of what the jobs of a model have spent of their agents' privacy."""

from fedbus.cli.output import display
from fedbus.cli.output.epsilon_text import describe_privacy, format_epsilon
from fedbus.cli.output.times import format_age
from fedbus.wire.messages import PrivacyShown
from fedbus.wire.privacy import JobPrivacy

COLUMNS = (
    *("JOB", "MECHANISM", "EPSILON", "DELTA", "ROUNDS", "ENTRIES", "UNIT", "RELATION"),
    *("SAMPLING", "VERSIONS", "AGE"),
)


def print_privacy(shown: PrivacyShown) -> None:
    """Print a line for each job of a model, the sum of their ε, and what it means."""
    rows = [_row(each) for each in shown.jobs]
    display.print_table(COLUMNS, rows, nothing=f"no job has trained {shown.model}")
    if any(each.spent is not None for each in shown.jobs):
        total = "no ε"
        if shown.epsilon is not None:
            total = f"ε {format_epsilon(shown.epsilon)}, δ {shown.delta:.3g}, the sum of all jobs"
        display.show(f"\n{shown.model}, version {shown.version}: {total}")
    display.show(describe_privacy(shown))
    running = [each.job for each in shown.jobs if each.running and each.spent is not None]
    for job in running:
        display.show(f"job {job} goes on, and its ε grows with each round")


def _row(job: JobPrivacy) -> tuple[object, ...]:
    versions = ""
    if job.first_version is not None and job.last_version is not None:
        first, last = job.first_version, job.last_version
        versions = f"{first}" if first == last else f"{first}-{last}"
    name = f"{job.job} (running)" if job.running else job.job
    age = format_age(job.submitted)
    if job.spent is None:
        mechanism = job.mechanism or "none"
        lost = format_epsilon(None) if job.rounds and job.mechanism is None else ""
        return (name, mechanism, lost, "", job.rounds, "", "", "", "", versions, age)
    spent = job.spent
    failed = f" ({job.failed} of failed rounds)" if job.failed else ""
    most = "" if spent.target_epsilon is None else f" of {spent.target_epsilon:g}"
    return (
        name,
        spent.mechanism,
        format_epsilon(spent.epsilon) + most,
        f"{spent.delta:.3g}",
        job.rounds,
        f"{spent.entries}{failed}",
        spent.unit,
        spent.relation,
        spent.sampling,
        versions,
        age,
    )
