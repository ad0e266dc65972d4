"""Boundaries of the code base: allowed imports, unique names, and modules that stay unloaded."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
FEDBUS = ROOT / "libs/fedbus/src/fedbus"
SERVICES = sorted(ROOT.glob("services/*/src/fedbus_*"))
DISTRIBUTIONS = (FEDBUS, *SERVICES)

FLOORS = (
    {
        "demo_data",
        "digest",
        "distributions",
        "errors",
        "interruption",
        "lazy_names",
        "lent_memory",
        "limits",
        "number_text",
        "text",
    },
    {"atomic_write", "scalars"},
    {"private_files"},
    {"model"},
    {"training"},
    {"wire"},
    {
        "compression",
        "core",
        "encryption",
        "energy",
        "jobs",
        "mqtt",
        "privacy",
        "secure_aggregation",
    },
    {"blobs", "cluster", "data"},
    {"plugins", "runtime"},
    {"datasource", "frameworks", "http_api", "strategies"},
    {"client"},
    {"simulation"},
    {"cli"},
    {"deploy"},
)
"""The packages and modules at the library's root, from the lowest floor to the highest.

A module imports from its own package and from lower floors, so no circle of packages can exist.
"""

BARRIERS = {
    "fedbus.model": "fedbus.wire",
    "fedbus.blobs.transfer": "fedbus.model",
    "fedbus.strategies": "fedbus.runtime",
    "fedbus.client": "fedbus.cli",
}
"""What a package never imports: named here so that a change of floors cannot allow it."""

COUNTERPARTS = (
    "frameworks/keras/",
    "frameworks/torch/",
    "frameworks/tflite/",
    "frameworks/onnx/",
)
"""Packages with the same modules for each framework: these modules share their names."""

SHARED_CLASSES: Mapping[str, str] = {}
"""Classes of one name that are deliberate counterparts, each with the reason."""

PURE = sorted(
    path
    for path in chain(
        FEDBUS.glob("wire/**/*.py"),
        FEDBUS.glob("jobs/**/*.py"),
        FEDBUS.glob("blobs/transfer/**/*.py"),
        (
            FEDBUS / "core" / name
            for name in (
                "actions.py",
                "blob_io.py",
                "events.py",
                "interface.py",
                "keys.py",
                "retries.py",
                "timers.py",
            )
        ),
        (
            FEDBUS / "runtime" / name
            for name in (
                *(
                    "identity.py",
                    "loopback.py",
                    "name_conflict.py",
                    "node.py",
                    "node_name.py",
                    "node_transfers.py",
                    "presence.py",
                    "public_topics.py",
                ),
                "setting_names.py",
            )
        ),
        (
            FEDBUS / name
            for name in (
                *("model/blob.py", "model/layout.py", "scalars.py", "text.py"),
                *("training/metrics_mean.py", "training/params.py"),
            )
        ),
        (service / "core.py" for service in SERVICES),
    )
    if path.exists()
)


def claims_pure(path: Path) -> bool:
    """Return whether a module's docstring claims to be pure as docs/architecture.md defines it."""
    docstring = ast.get_docstring(ast.parse(path.read_text(), path)) or ""
    return docstring.partition("\n\n")[0].endswith("Pure.")


CLAIMED_PURE = sorted(
    path
    for folder in (FEDBUS, *SERVICES)
    for path in folder.rglob("*.py")
    if path not in PURE and claims_pure(path)
)
WAITING = {"asyncio", "aiomqtt", "aiohttp", "sqlite3", "time"}
LOCAL_STORAGE = {
    "libs/fedbus/src/fedbus/client/repository.py",
    "services/collector/src/fedbus_collector/rounds/round_aggregate.py",
    "services/collector/src/fedbus_collector/rounds/inputs.py",
    "services/collector/src/fedbus_collector/rounds/updates.py",
    "services/edge_agent/src/fedbus_edge_agent/tasks/replies.py",
    "services/edge_agent/src/fedbus_edge_agent/tasks/inputs.py",
}
"""Pure modules that create spools or read the outbox, in the event loop; see the architecture."""
HEAVY = {
    "PIL",
    "ai_edge_litert",
    "aiohttp",
    "matplotlib",
    "pyarrow",
    "scipy",
    "sklearn",
    "tensorflow",
    "tflite_runtime",
    "torch",
}


def imported_by(path: Path) -> Iterator[str]:
    """Yield the package of each import in a file, including those in functions."""
    for node in ast.walk(ast.parse(path.read_text(), path)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name.partition(".")[0] for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0]


def modules_imported_by(path: Path) -> Iterator[str]:
    """Yield the module of each import in a file, including those in functions."""
    for node in ast.walk(ast.parse(path.read_text(), path)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), level=0, names=names):
                yield from (f"{module}.{alias.name}" for alias in names)


def relative(path: Path) -> str:
    """Return the path of a file relative to the root of the repository."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)
def test_a_service_imports_no_other_service(service: Path) -> None:
    """Each can be installed, replaced and understood separately; they share only `fedbus`."""
    imports = {
        (relative(path), package)
        for path in service.rglob("*.py")
        for package in imported_by(path)
        if package.startswith("fedbus_") and package != service.name
    }
    assert imports == set()


LIMIT = re.compile(r"_?(?P<name>(?:MAX|MIN|MOST|LONGEST|LARGEST)(?:_[A-Z_]+)?)")


def limits_in(path: Path) -> Iterator[str]:
    """Yield the names of the limits that a module defines, without a leading underscore."""
    for node in ast.parse(path.read_text(), path).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                if found := LIMIT.fullmatch(name):
                    yield found["name"]


def test_no_two_modules_define_a_limit_of_one_name() -> None:
    """A model spec was at most 1 MiB to one service and 4 MiB to another: see limits.py."""
    places: dict[str, list[str]] = {}
    for path in chain(FEDBUS.rglob("*.py"), *(service.rglob("*.py") for service in SERVICES)):
        for name in limits_in(path):
            places.setdefault(name, []).append(relative(path))
    assert len(places) > 50  # the pattern matches limits
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


RING = {FEDBUS / "simulation" / "services.py", FEDBUS / "simulation" / "simulated_job.py"}
"""The only files of the library that import services, to run them in one process."""


def test_the_library_imports_no_service_but_for_the_ring() -> None:
    """The command starts services as processes, so it does not need to import them."""
    imports = {
        (relative(path), package)
        for path in set(FEDBUS.rglob("*.py")) - RING
        for package in imported_by(path)
        if package.startswith("fedbus_")
    }
    assert imports == set()


def test_the_client_needs_nothing_of_the_command_line() -> None:
    """Programs and notebooks use `fedbus.client`: it prints nothing and needs no `fedbus[cli]`."""
    command = ("fedbus.cli.", "rich.", "typer.")
    imports = {
        (relative(path), module)
        for path in FEDBUS.glob("client/**/*.py")
        for module in modules_imported_by(path)
        if f"{module}.".startswith(command)
    }
    assert imports == set()


@pytest.mark.parametrize("path", [*PURE, *CLAIMED_PURE], ids=relative)
def test_a_pure_file_cannot_wait(path: Path) -> None:
    """Pure code is tested without a broker, a disk or a clock, and replayed from a seed."""
    assert set(imported_by(path)) & WAITING == set()


@pytest.mark.parametrize("path", CLAIMED_PURE, ids=relative)
def test_a_pure_file_opens_no_file_and_starts_no_process(path: Path) -> None:
    """Except a spool or the outbox, in the modules that docs/architecture.md names."""
    touching = {"mmap", "os", "selectors", "shutil", "socket", "subprocess", "tempfile"}
    assert set(imported_by(path)) & touching == set()
    calls = (
        node for node in ast.walk(ast.parse(path.read_text(), path)) if isinstance(node, ast.Call)
    )
    called = {ast.unparse(call.func) for call in calls}
    opened = {
        call
        for call in called
        if call == "open" or call.endswith(("spools.make", "outbox.load", ".read_bytes"))
    }
    assert not opened or relative(path) in LOCAL_STORAGE, opened


def test_the_linter_bans_these_imports_in_every_pure_file() -> None:
    """No exception in the linter's settings covers a pure file, and its list equals WAITING."""
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    exempt = [glob for glob, rules in lint["per-file-ignores"].items() if "TID251" in rules]
    excused = [relative(path) for path in PURE if any(fnmatch(relative(path), g) for g in exempt)]
    assert excused == []
    assert set(lint["flake8-tidy-imports"]["banned-api"]) == WAITING


def test_importing_fedbus_loads_nothing_heavy() -> None:
    """An agent on a small device loads only the framework it uses, and no HTTP server."""
    script = "import sys, fedbus; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) & HEAVY == set()


SOLE_IMPORTERS = {
    "cryptography": (
        "libs/fedbus/src/fedbus/privacy/noise.py",
        "libs/fedbus/src/fedbus/secure_aggregation/",
    ),
    "dp_accounting": ("libs/fedbus/src/fedbus/privacy/accounting.py",),
    "opacus": ("libs/fedbus/src/fedbus/frameworks/torch/",),
}
"""Packages of privacy, and the modules and packages that alone import each."""


@pytest.mark.parametrize(("package", "places"), SOLE_IMPORTERS.items())
def test_a_package_of_privacy_has_few_importers(package: str, places: tuple[str, ...]) -> None:
    """An agent draws noise without cryptography, a controller plans without any of them."""
    importers = {
        relative(path)
        for folder in DISTRIBUTIONS
        for path in folder.rglob("*.py")
        if package in set(imported_by(path))
    }
    assert importers
    assert {each for each in importers if not each.startswith(places)} == set()


def test_agents_draw_noise_without_cryptography() -> None:
    """It is no dependency of an agent, whose noise comes from the operating system."""
    script = (
        "import sys, fedbus.privacy.secret_noise, fedbus.privacy.noise_key\n"
        "from fedbus import plugins\n"
        "for name in plugins.allowed_names('update_transforms', ()):\n"
        "    plugins.load('update_transforms', name, ())\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "numpy" in done.stdout.split()
    assert set(done.stdout.split()) & SOLE_IMPORTERS.keys() == set()


def test_nothing_that_is_installed_later_brings_numpy_2_where_tflite_runtime_is() -> None:
    """`pip install "fedbus[tensorflow]"` would, if the base package allowed it."""
    project = tomllib.loads((ROOT / "libs/fedbus/pyproject.toml").read_text())["project"]
    device = {"python_version": "3.11", "sys_platform": "linux"}
    newer = {"python_version": "3.12", "sys_platform": "linux"}

    def takes(numpy: str, environment: dict[str, str]) -> bool:
        return all(
            numpy in each.specifier
            for each in map(Requirement, project["dependencies"])
            if each.name == "numpy" and (each.marker is None or each.marker.evaluate(environment))
        )

    assert takes("1.26.4", device)
    assert not takes("2.0.0", device)
    assert takes("2.4.6", newer)


def module_name(path: Path) -> str:
    """Return the module name of a file, such as `fedbus.wire.codec`."""
    source = next(parent for parent in path.parents if parent.name == "src")
    parts = path.relative_to(source).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    module_name(path): path
    for distribution in DISTRIBUTIONS
    for path in sorted(distribution.rglob("*.py"))
}


def local_imports(path: Path) -> Iterator[str]:
    """Yield each module of this repository that a file imports, including those in functions."""
    for node in ast.walk(ast.parse(path.read_text(), path)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names if alias.name in MODULES)
            case ast.ImportFrom(module=str(module), names=names, level=0) if module in MODULES:
                for alias in names:
                    inner = f"{module}.{alias.name}"
                    yield inner if inner in MODULES else module


IMPORTS = {
    name: sorted({other for other in local_imports(path) if other != name})
    for name, path in MODULES.items()
}


def is_inside(module: str, package: str) -> bool:
    """Return whether a module is a package or lies in it."""
    return module == package or module.startswith(f"{package}.")


def root_package_of(module: str) -> str:
    """Return the package or module at the library's root that a module belongs to."""
    return module.split(".")[1]


def test_every_package_of_the_library_has_a_floor() -> None:
    """A new package is placed on a floor on purpose."""
    packages = {root_package_of(name) for name in MODULES if name.startswith("fedbus.")}
    assert packages == set().union(*FLOORS)


def test_nothing_in_the_library_imports_upward() -> None:
    """What a module uses is defined on a lower floor."""
    floor_of = {package: number for number, packages in enumerate(FLOORS) for package in packages}
    upward = [
        f"{name} imports {other}"
        for name, others in IMPORTS.items()
        for other in others
        if name.startswith("fedbus.")
        and other.startswith("fedbus.")
        and root_package_of(name) != root_package_of(other)
        and floor_of[root_package_of(other)] >= floor_of[root_package_of(name)]
    ]
    assert upward == []


@pytest.mark.parametrize(("package", "barred"), BARRIERS.items())
def test_a_package_does_not_import_what_it_must_not_know(package: str, barred: str) -> None:
    """A model knows no bus, a transfer no model, a strategy no process, a client no command."""
    known = [
        f"{name} imports {other}"
        for name, others in IMPORTS.items()
        for other in others
        if is_inside(name, package) and is_inside(other, barred)
    ]
    assert known == []


def test_no_imports_form_a_circle() -> None:
    """Inside a package as well, each module can be read after those it imports."""
    remaining = {name: set(others) for name, others in IMPORTS.items()}
    while free := {name for name, others in remaining.items() if not others & remaining.keys()}:
        for name in free:
            del remaining[name]
    assert remaining == {}


def test_no_two_modules_of_a_distribution_have_one_name() -> None:
    """A file's name alone identifies it, in a traceback as in a search."""
    places = defaultdict(list)
    for distribution in DISTRIBUTIONS:
        for path in distribution.rglob("*.py"):
            place = path.relative_to(distribution).as_posix()
            if not path.stem.startswith("__"):
                family = "by framework" if place.startswith(COUNTERPARTS) else place
                places[distribution.name, path.stem].append(family)
    assert {key: found for key, found in places.items() if len(set(found)) > 1} == {}


def test_no_two_classes_have_one_name() -> None:
    """One name has one meaning, unless two classes are counterparts on purpose."""
    places = defaultdict(set)
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(), path)):
            if isinstance(node, ast.ClassDef):
                places[node.name].add(name)
    twice = {kind for kind, modules in places.items() if len(modules) > 1}
    assert twice == SHARED_CLASSES.keys()
