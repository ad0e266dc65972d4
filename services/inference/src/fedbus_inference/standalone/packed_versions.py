"""Versions of local folders, packed as a push to a repository packs them. Called in a thread."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedbus.client import model_files, packing
from fedbus.client.packed_model import PackedModel
from fedbus.errors import SettingsError
from fedbus_inference.standalone.assist_iot_model import (
    MODEL_FILE,
    assist_iot_spec,
    is_assist_iot,
    read_small_json,
)
from fedbus_inference.standalone.model_folders import SINGLE_FILES, VersionFiles

WEIGHT_SUFFIXES: Final = (".npz", ".safetensors")


@dataclass(frozen=True, slots=True)
class PackedVersion:
    """A version of a folder, with the files that it was packed from."""

    files: VersionFiles
    packed: PackedModel


def pack_version(files: VersionFiles) -> PackedVersion:
    """Pack a folder or a file.

    Raises:
        SettingsError: It has no model, or more than one, or asks for what is not supported.
        FedbusError: A file is damaged, or its parts do not fit together.
    """
    return PackedVersion(files, pack_local_model(files.path, files.model))


def pack_local_model(path: Path, name: str | None = None) -> PackedModel:
    """Pack a model of a folder or file, under the given name or its own; see `pack_version`."""
    if path.is_file():
        return _pack_file(path, name)
    spec = _spec_file(path)
    if spec is None:
        found = [each for each in sorted(path.iterdir()) if each.suffix in SINGLE_FILES]
        if len(found) != 1:
            raise SettingsError(
                f"expected {MODEL_FILE}, or one file with the suffix "
                f"{' or '.join(SINGLE_FILES)}, got {len(found)}"
            )
        return model_files.read_model_file(found[0], name=name or path.name)
    stated = read_small_json(spec)
    if is_assist_iot(stated):
        file, more = assist_iot_spec(path, stated)
        own = name or _text(stated.get("model_name")) or path.name
        plain = model_files.spec_of_file(file.read_bytes(), file.name, own)
        return packing.pack(plain | more, path)
    return packing.read_model(spec, _weights_file(path), name=name)


def _pack_file(path: Path, name: str | None) -> PackedModel:
    if path.suffix == ".json":
        return packing.read_model(path, _weights_file(path.parent), name=name)
    return model_files.read_model_file(path, name=name)


def _spec_file(folder: Path) -> Path | None:
    """Return the spec of a folder: model.json, or the only JSON file."""
    if (usual := folder / MODEL_FILE).is_file():
        return usual
    others = sorted(folder.glob("*.json"))
    return others[0] if len(others) == 1 else None


def _weights_file(folder: Path) -> Path | None:
    found = [each for each in sorted(folder.iterdir()) if each.suffix in WEIGHT_SUFFIXES]
    if len(found) > 1:
        raise SettingsError(
            f"expected at most one file of weights, got {', '.join(each.name for each in found)}"
        )
    return found[0] if found else None


def _text(stated: object) -> str | None:
    return stated if isinstance(stated, str) and stated else None
