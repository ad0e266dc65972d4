"""Versions of one model of a folder: found, packed, or put aside. Pure."""

from typing import TYPE_CHECKING

from fedbus_inference.standalone.model_folders import Fingerprint, VersionFiles

if TYPE_CHECKING:
    from fedbus_inference.standalone.packed_versions import PackedVersion


class FolderModel:
    """Versions of one model, by number.

    Attributes:
        files: Those that the last scan has found.
        packed: Those whose blobs are in memory, the one that was packed first at the beginning.
        put_aside: The files of those that could not be packed, and why.
        announced: The newest that was announced; 0: none.
    """

    def __init__(self) -> None:
        self.files: dict[int, VersionFiles] = {}
        self.packed: dict[int, PackedVersion] = {}
        self.put_aside: dict[int, tuple[Fingerprint, str]] = {}
        self.announced = 0
        self._last_number = 0
        self._last_print: Fingerprint = ()

    def update(self, found: list[VersionFiles]) -> None:
        """Take over a scan; a model without folders of versions gets the next number by changes."""
        files: dict[int, VersionFiles] = {}
        for each in found:
            number = each.version
            if number is None:
                if each.fingerprint != self._last_print:
                    self._last_number = max(self._last_number, *self.files, 0) + 1
                    self._last_print = each.fingerprint
                number = self._last_number
            files[number] = each
        self.files = files

    def is_packed(self, version: int) -> bool:
        """Return whether a version is packed as its files are now."""
        packed, files = self.packed.get(version), self.files.get(version)
        return bool(packed and files and packed.files.fingerprint == files.fingerprint)

    def reason(self, version: int) -> str:
        """Return why a version is put aside; empty if it is not."""
        fingerprint, reason = self.put_aside.get(version, ((), ""))
        return reason if fingerprint == self.files[version].fingerprint else ""

    def next(self) -> int | None:
        """Return the newest version that is not put aside, unless it is packed already."""
        newest = max((each for each in self.files if not self.reason(each)), default=None)
        return None if newest is None or self.is_packed(newest) else newest
