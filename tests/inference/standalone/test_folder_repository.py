"""Repository of a local folder: what it announces, serves and answers, without a disk."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedbus.client.packed_model import PackedModel
from fedbus.core.actions import Action, Announce, Note, Run, Send, Serve, Unserve, WakeAt
from fedbus.core.events import Connected, Event, Ran, Received, RunFailed, Stopping, Woke
from fedbus.errors import SettingsError
from fedbus.wire.blobs import blob_ref_of
from fedbus.wire.documents import ModelLatest
from fedbus.wire.messages import ModelShown, PushModel, RequestRefused, ShowModel
from fedbus.wire.refusals import refusal_of_request
from fedbus_inference.standalone.folder_repository import (
    MAX_PACKED_VERSIONS,
    SCAN_SECONDS,
    FolderRepository,
    FolderScan,
)
from fedbus_inference.standalone.model_folders import ScannedModels, VersionFiles
from fedbus_inference.standalone.packed_versions import PackedVersion

NAME, ASKER = "repository.folder", "inference.1"
BROKEN = "broken"


def files(model: str, version: int | None, content: str = "", idle: float = 9.0) -> VersionFiles:
    """Describe a version whose only file has this content."""
    return VersionFiles(model, version, Path(model), ((content, 1, 1),), idle)


def pack(version: VersionFiles) -> PackedVersion:
    """Pack a version as three blobs, of its content and number."""
    content = f"{version.fingerprint[0][0]}-{version.version}"
    if content.startswith(BROKEN):
        raise SettingsError("torn")
    spec, weights = b"spec of " + content.encode(), b"weights of " + content.encode()
    push = PushModel(
        model=version.model, spec=blob_ref_of(spec), weights=blob_ref_of(weights), reset=False
    )
    blobs: dict[str, bytes | bytearray] = {
        push.spec.digest: spec,
        push.weights.digest: bytearray(weights),
    }
    warnings = ("old",) if content.startswith("odd") else ()
    return PackedVersion(version, PackedModel(push, blobs, warnings))


@dataclass
class Folder:
    """A core whose folder and threads are the test's."""

    found: ScannedModels = field(default_factory=ScannedModels)
    fault: OSError | None = None
    latest: dict[str, ModelLatest] = field(default_factory=dict)
    served: dict[str, bytes] = field(default_factory=dict)
    sent: list[object] = field(default_factory=list)
    notes: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    timers: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.core = FolderRepository(NAME, self._scan, pack)

    def _scan(self) -> ScannedModels:
        if self.fault:
            raise self.fault
        return self.found

    def has(self, *versions: VersionFiles, **passed_over: str) -> None:
        """Change the folder."""
        grouped: dict[str, list[VersionFiles]] = {}
        for each in versions:
            grouped.setdefault(each.model, []).append(each)
        self.found = ScannedModels(grouped, passed_over)

    def scan(self) -> None:
        """Scan once, and pack all that is packed then."""
        self.handle(Woke(FolderScan()))
        self.settle()

    def settle(self) -> None:
        """Run all calls."""
        while self.runs:
            self.run()

    def run(self) -> None:
        """Run the first call."""
        run = self.runs.pop(0)
        try:
            result = run.call()
        except Exception as error:  # noqa: BLE001 - as a shell reports any error of a thread
            self.handle(RunFailed(run.key, error))
        else:
            self.handle(Ran(run.key, result))

    def handle(self, event: Event) -> None:
        """Pass an event, and perform what follows."""
        self.perform(self.core.handle(event, 100.0))

    def perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Run():
                    self.runs.append(action)
                case Announce(_, ModelLatest() as latest):
                    self.latest[latest.model] = latest
                case Serve(digest, source):
                    self.served[digest] = bytes(source.read(0, source.size))
                case Unserve(digest):
                    self.served.pop(digest)
                case Send(to, message):
                    assert to == ASKER
                    self.sent.append(message)
                case WakeAt(_, at):
                    self.timers.append(at)
                case Note(event, facts):
                    self.notes.append((event, facts))
                case _:
                    raise AssertionError(action)

    def show(self, **stated: Any) -> None:  # noqa: ANN401 - fields of a message
        """Ask for a version."""
        self.handle(Received(ASKER, ShowModel(**stated)))

    def weights(self, model: str = "digits") -> bytes:
        """Return the weights of the announced version, as they are served."""
        return self.served[self.latest[model].digest]


def started(*versions: VersionFiles) -> Folder:
    """Make a repository that has scanned its folder once."""
    folder = Folder()
    folder.has(*versions)
    folder.handle(Connected())
    folder.settle()
    return folder


def test_the_newest_version_of_each_model_is_announced_and_served() -> None:
    """The folder is looked at again later."""
    folder = started(files("digits", 1), files("digits", 2), files("other", None))
    assert (folder.latest["digits"].version, folder.latest["other"].version) == (2, 1)
    assert folder.weights() == b"weights of -2"
    assert folder.latest["digits"].source == NAME
    assert folder.timers == [100.0 + SCAN_SECONDS]
    folder.handle(Stopping())
    assert folder.runs == []


def test_a_new_version_is_announced_once() -> None:
    """An unchanged folder has no effect."""
    folder = started(files("digits", 1))
    folder.has(files("digits", 1), files("digits", 2))
    folder.scan()
    assert folder.latest["digits"].version == 2
    folder.latest.clear()
    folder.scan()
    assert folder.latest == {}


def test_a_model_without_version_folders_gets_a_number_with_each_change() -> None:
    """So the service takes the change for a newer version."""
    folder = started(files("digits", None, "a"))
    folder.has(files("digits", None, "b"))
    folder.scan()
    assert (folder.latest["digits"].version, folder.weights()) == (2, b"weights of b-None")
    folder.has(files("digits", 1, "c"), files("digits", 7, "d"))
    folder.scan()
    assert folder.latest["digits"].version == 7
    folder.has(files("digits", None, "e"))
    folder.scan()
    assert folder.latest["digits"].version == 8


def test_a_version_that_changes_is_announced_again() -> None:
    """Its old blobs are served no longer."""
    folder = started(files("digits", 1, "a"))
    folder.has(files("digits", 1, "b"))
    folder.scan()
    assert folder.weights() == b"weights of b-1"
    assert len(folder.served) == 2


def test_files_that_have_just_changed_wait_for_the_next_scan() -> None:
    """A copy that is under way changes until it is whole."""
    folder = started(files("digits", 1, "half", idle=0.1))
    assert folder.latest == {}
    folder.has(files("digits", 1, "more", idle=0.1))
    folder.scan()
    assert folder.latest == {}
    folder.scan()
    assert folder.weights() == b"weights of more-1"


def test_a_damaged_version_is_put_aside_and_the_one_before_is_announced() -> None:
    """Until its files change."""
    folder = started(files("digits", 1), files("digits", 2, BROKEN))
    assert folder.latest["digits"].version == 1
    (put_aside,) = folder.notes
    assert put_aside == (
        "model_folder_put_aside",
        {"model": "digits", "version": 2, "reason": "torn"},
    )
    folder.scan()
    assert len(folder.notes) == 1
    folder.show(model="digits", version=2)
    question = ShowModel(model="digits", version=2)
    assert folder.sent == [refusal_of_request(question, "digits", "version 2: torn")]
    folder.has(files("digits", 1), files("digits", 2, "mended"))
    folder.scan()
    assert folder.latest["digits"].version == 2


def test_an_older_version_is_packed_when_it_is_asked_for() -> None:
    """Twice asked is once packed; the announced version stays."""
    folder = started(files("digits", 1), files("digits", 2))
    folder.show(model="digits", version=1)
    folder.show(model="digits", version=1)
    assert folder.sent == []
    folder.settle()
    (shown,) = folder.sent
    assert isinstance(shown, ModelShown)
    assert shown.version.version == 1
    assert folder.served[shown.version.weights.digest] == b"weights of -1"
    assert folder.latest["digits"].version == 2
    folder.show(model="digits", version=1)
    folder.show(model="digits")
    versions = [each.version.version for each in folder.sent if isinstance(each, ModelShown)]
    assert versions == [1, 1, 2]


def test_blobs_of_few_versions_are_kept_in_memory() -> None:
    """The one that was packed first is dropped."""
    many = [files("digits", number) for number in range(1, MAX_PACKED_VERSIONS + 3)]
    folder = started(*many)
    for number in range(1, MAX_PACKED_VERSIONS + 2):
        folder.show(model="digits", version=number)
        folder.settle()
    assert len(folder.sent) == MAX_PACKED_VERSIONS + 1
    assert len(folder.served) == 2 * MAX_PACKED_VERSIONS


def test_what_the_folder_does_not_have_is_refused() -> None:
    """With what it has."""
    folder = started(files("digits", 1))
    folder.show(model="nothing")
    folder.show(model="digits", version=9)
    folder.show(model="digits", name="production")
    refused = [each for each in folder.sent if isinstance(each, RequestRefused)]
    assert [each.kind for each in refused] == ["unknown"] * 3
    assert [each.reason for each in refused] == [
        "no such model; the folder has digits",
        "no version 9; the folder has 1",
        "versions of a folder have no aliases",
    ]


def test_a_version_that_fails_when_it_is_asked_for_is_refused() -> None:
    """And from then on at once; also if its files are gone meanwhile."""
    folder = started(files("digits", 1, BROKEN), files("digits", 2))
    folder.show(model="digits", version=1)
    (packing,) = folder.runs
    folder.runs.clear()
    folder.handle(RunFailed(packing.key, ValueError()))
    folder.show(model="digits", version=1)
    question = ShowModel(model="digits", version=1)
    refused = refusal_of_request(question, "digits", "version 1: ValueError")
    assert folder.sent == [refused, refused]
    folder.has(files("digits", 1, "mended"), files("digits", 2))
    folder.scan()
    folder.show(model="digits", version=1)
    (packing,) = folder.runs
    folder.runs.clear()
    folder.has(files("digits", 2))
    folder.handle(Ran(FolderScan(), folder.found))
    folder.handle(RunFailed(packing.key, OSError("gone")))
    assert folder.sent[-1] == refusal_of_request(question, "digits", "version 1: gone")


def test_a_model_that_is_removed_cannot_be_asked_for() -> None:
    """What is loaded keeps answering, so nothing is announced."""
    folder = started(files("digits", 1))
    folder.latest.clear()
    folder.has()
    folder.scan()
    folder.show(model="digits")
    assert folder.latest == {}
    assert isinstance(folder.sent[-1], RequestRefused)


def test_what_is_passed_over_and_a_folder_that_cannot_be_read_are_logged_once() -> None:
    """And again when the reason is another one."""
    folder = Folder()
    folder.has(files("odd", 1, "odd"), README="it has no file")
    folder.handle(Connected())
    folder.settle()
    folder.scan()
    assert folder.notes == [
        ("model_folder_passed_over", {"entry": "README", "reason": "it has no file"}),
        ("model_folder_warning", {"model": "odd", "reason": "old"}),
    ]
    folder.fault = OSError("no such folder")
    folder.scan()
    folder.scan()
    assert folder.notes[2:] == [("models_not_scanned", {"reason": "no such folder"})]
    folder.fault = None
    folder.scan()
    folder.fault = OSError("no such folder")
    folder.scan()
    assert len(folder.notes) == 4
    assert len(folder.timers) == 6


def test_a_version_that_vanishes_before_it_is_packed_is_left_out() -> None:
    """Who asked for it asks again, and is refused then."""
    folder = started(files("digits", 1), files("digits", 2), files("digits", 3))
    folder.show(model="digits", version=1)
    folder.show(model="digits", version=2)
    packing = folder.runs.pop()
    folder.has(files("digits", 1), files("digits", 3))
    folder.handle(Woke(FolderScan()))
    folder.run()
    folder.handle(Ran(packing.key, packing.call()))
    assert folder.runs == []
    assert len(folder.sent) == 1
