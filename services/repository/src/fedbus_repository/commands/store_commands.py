"""`fedbus store`: check, backup, restore and migration of a repository's store."""

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from fedbus.cli import exit_codes
from fedbus.cli.context import AsJson
from fedbus.cli.output import display
from fedbus.core import clock
from fedbus.errors import SettingsError
from fedbus.text import counted
from fedbus_repository.operations.backup_folder import (
    BackupReader,
    BackupWriter,
    DamagedManifestError,
    is_backup,
)
from fedbus_repository.operations.restored_records import RestoredRecords, ledger_warning
from fedbus_repository.operations.store_check import (
    StoreFindings,
    check_blobs_alone,
    check_store,
)
from fedbus_repository.operations.store_copy import CopyResult, StoreCopy
from fedbus_repository.operations.store_places import open_reader, open_writer
from fedbus_repository.stores.sqlite.database_faults import DamagedDatabaseError

app = typer.Typer(
    help="Check, back up, restore and move the store of a repository.",
    no_args_is_help=True,
)
STORE_HELP: Final = (
    "The repository's folder (FEDBUS_DATA), a mongodb:// URL, or the folder of a backup."
)
Store = Annotated[str, typer.Argument(metavar="STORE", help=STORE_HELP)]


@app.callback()
def store() -> None:
    """Check, back up, restore and move the store of a repository."""


@app.command()
def check(store: Store, as_json: AsJson = False) -> None:
    """Read every record and every blob, and report what is damaged. It changes nothing.

    The repository may run meanwhile. Exit code 1: damage was found.

    fedbus store check data
    """
    try:
        with (
            closing(open_reader(store)) as reader,
            display.growing_progress("checking blobs") as (begin, advance),
        ):
            place, found = reader.place, check_store(reader, begin, advance)
    except (DamagedDatabaseError, DamagedManifestError) as error:
        with display.growing_progress("checking blobs") as (begin, advance):
            place, found = store, check_blobs_alone(Path(store), str(error), begin, advance)
    _show_findings(place, found, as_json=as_json)
    if found.damage:
        raise typer.Exit(exit_codes.FAILED)


def _show_findings(place: str, found: StoreFindings, *, as_json: bool) -> None:
    if as_json:
        display.print_json(
            {
                "store": place,
                "intact": not found.damage,
                "damage": found.damage,
                "notes": found.notes,
                "records": dict(found.counts),
                "blobs": found.blobs,
                "blob_bytes": found.blob_bytes,
                "unneeded_blobs": found.unneeded,
            }
        )
        return
    for sentence in found.damage:
        display.show(f"damaged: {sentence}")
    for sentence in found.notes:
        display.show(f"note: {sentence}")
    size = display.format_size(found.blob_bytes)
    records = _counted(found.counts) or "no record can be read"
    display.show(f"{records}; {found.blobs} intact blobs of {size}")
    if found.unneeded:
        display.show(f"{found.unneeded} blobs that no record needs: the next start deletes them")
    if not found.damage:
        display.show(f"{place} is intact")


@app.command()
def backup(
    store: Store,
    folder: Annotated[
        Path, typer.Argument(help="New, empty, or with an earlier backup, which is replaced.")
    ],
    as_json: AsJson = False,
) -> None:
    """Copy a store into a folder, while its repository runs.

    A second backup into the same folder copies only what is new. The folder has the secrets of
    private jobs: keep it where only you can read it. `fedbus store check FOLDER` verifies it.

    fedbus store backup data /mnt/backups/fedbus
    """
    with closing(open_reader(store)) as reader:
        writer = BackupWriter(folder, source=reader.place, made=clock.utc())
        with (
            closing(StoreCopy(reader)) as copy,
            display.growing_progress("copying blobs") as (begin, advance),
        ):
            result = copy.write(writer, begin, advance)
    _report(result, f"backed up {reader.place} to {folder}", as_json=as_json)


@app.command()
def restore(
    backup: Annotated[Path, typer.Argument(help="The folder of a backup.")],
    target: Annotated[
        str, typer.Argument(help="A new or empty folder, or the URL of an empty MongoDB database.")
    ],
    ledgers_complete: Annotated[
        bool,
        typer.Option(
            "--ledgers-complete",
            help="State that no job with a privacy mechanism has run since the backup.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a new store from a backup.

    Stop the repository, restore, and start it on the new store. Jobs that were running end as
    failed, since their agents have answered more tasks than the backup knows: `fedbus job submit
    --again`. Controllers, collectors, agents and clients go on without a restart. Start inference
    services again to answer with the restored versions and aliases at once: else they answer with
    the newest version that they have until the restored store has made another one.

    fedbus store restore /mnt/backups/fedbus data-new
    """
    reader = BackupReader(backup)
    assert reader.manifest is not None  # noqa: S101 - a finished backup has one
    restored = RestoredRecords(reader.manifest.made, clock.utc())
    with closing(StoreCopy(reader, restored.change)) as copy:
        copy.require_blobs()
        if restored.private_models and not ledgers_complete:
            raise SettingsError(ledger_warning(restored.private_models))
        with (
            closing(open_writer(target, of=str(backup.resolve()))) as writer,
            display.growing_progress("copying blobs") as (begin, advance),
        ):
            result = copy.write(writer, begin, advance)
    _report(result, f"restored {backup} to {target}", as_json=as_json)


@app.command()
def migrate(
    source: Store,
    target: Annotated[
        str, typer.Argument(help="A new or empty folder, or the URL of an empty MongoDB database.")
    ],
    as_json: AsJson = False,
) -> None:
    """Copy a store to another place or database, and prove that both hold the same.

    The repository must be stopped. Interrupted, it continues if you run it again. The source is
    not changed: start the repository on the target, and delete the source later.

    fedbus store migrate data mongodb://repository@db.example:27017/fedbus
    """
    if not source.startswith("mongodb") and is_backup(Path(source)):
        raise SettingsError(f"{source} is a backup: `fedbus store restore` makes a store of it")
    with (
        closing(open_reader(source, exclusive=True)) as reader,
        closing(StoreCopy(reader)) as copy,  # before the target: damage leaves nothing there
        closing(open_writer(target, of=reader.place)) as writer,
        display.growing_progress("copying blobs") as (begin, advance),
    ):
        result = copy.write(writer, begin, advance)
    _report(result, f"migrated {reader.place} to {target}", as_json=as_json)


def _report(result: CopyResult, done: str, *, as_json: bool) -> None:
    if as_json:
        display.print_json(asdict(result))
        return
    display.show(f"{done}: {_counted(result.counts)}")
    size, new = display.format_size(result.blob_bytes), result.copied_blobs
    display.show(
        f"{result.blobs} blobs of {size}, {new} of them copied now and compared with their digests"
    )
    for kind, digest in result.digests.items():
        records = counted(result.counts[kind], "record")
        display.show(f"  {kind}: {records} of digest {digest[:16]} on both sides")


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(counted(count, kind) for kind, count in counts.items())
