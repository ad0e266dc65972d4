"""Environment of a board: `fedbus-inference[tflite]` and what it requires, and no other package.

It is made of links to the packages of this environment, so nothing is downloaded.
"""

import os
import subprocess
import sys
import sysconfig
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOTS = ("fedbus-inference[tflite]",)
LOADED = (
    "fedbus.frameworks.tflite.runtime",
    "fedbus.frameworks.tflite.trial_child",
    "fedbus_inference.app",
    "fedbus_inference.http.inference_api",
    "fedbus_inference.standalone.local_bus",
    "tflite_runtime.interpreter",
)
"""Modules that services load on a board, with all that these import."""


def required(roots: tuple[str, ...] = ROOTS) -> dict[str, Distribution]:
    """Return the installed distributions that these need, themselves included, by name."""
    found: dict[str, Distribution] = {}
    seen: set[str] = set()
    waiting = [Requirement(each) for each in roots]
    while waiting:
        wanted = waiting.pop()
        if str(wanted) in seen:
            continue
        seen.add(str(wanted))
        try:
            package = distribution(wanted.name)
        except PackageNotFoundError:
            continue  # it is for another platform, or not installed here
        found[wanted.name] = package
        for text in package.requires or ():
            more = Requirement(text)
            extras = ({"extra": each} for each in ("", *wanted.extras))
            if more.marker is None or any(map(more.marker.evaluate, extras)):
                waiting.append(more)
    return found


def make_board_environment(folder: Path) -> Path:
    """Make the environment in a folder; return its interpreter.

    Bytecode is written once, as pip does: compiling at each start takes memory.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    paths = {"base": str(folder), "platbase": str(folder)}
    place = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    for package in required().values():
        for file in {each.parts[0] for each in package.files or () if each.parts[0] != ".."}:
            link, source = place / file, Path(str(package.locate_file(file)))
            if file != "__pycache__" and not link.exists():
                link.symlink_to(source)
    python = folder / "bin/python"
    environ = os.environ | board_variables(folder)
    modules = ", ".join(LOADED)
    subprocess.run([str(python), "-c", f"import {modules}"], check=True, env=environ)
    return python


def board_variables(folder: Path) -> dict[str, str]:
    """Return environment variables of its processes: docstrings and bytecode are as by default.

    The bytecode is kept beside the environment.
    """
    return {
        "PYTHONOPTIMIZE": "",
        "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
        "PYTHONDONTWRITEBYTECODE": "",
    }
