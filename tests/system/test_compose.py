"""compose.yaml agrees with the code it starts; `compose_check.sh` starts it."""

import re
import tomllib
from pathlib import Path

import pytest

from fedbus.cluster.members import NOISE_KEY
from fedbus.deploy.prepare import OWNERS, SERVICES, SLOTS
from fedbus_repository.stores.mongo.mongo_settings import MongoSettings

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "compose.yaml").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def _services() -> dict[str, str]:
    part = COMPOSE.partition("\nservices:\n")[2].partition("\nnetworks:\n")[0]
    found = re.split(r"^  (\w+):.*\n", part, flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


@pytest.mark.parametrize(
    ("service", "role"),
    [
        ("controller", "controller"),
        ("collector", "collector"),
        ("repository", "repository"),
        ("inference", "inference"),
        ("edge_agent", "agent"),
    ],
)
def test_each_image_runs_as_the_user_that_may_read_its_password(service: str, role: str) -> None:
    """Otherwise it could not log in."""
    assert f"SERVICE: {service}," in _services()[service]
    assert f"USER_ID: {OWNERS[role]} " in _services()[service]


def test_the_broker_and_the_commands_run_as_theirs() -> None:
    """The first is Mosquitto's user in its own image."""
    assert f'user: "{OWNERS["broker"]}:{OWNERS["broker"]}"' in _services()["broker"]
    assert f"USER_ID: {OWNERS['user']} " in COMPOSE.partition("\nservices:\n")[0]


def test_every_account_is_prepared() -> None:
    """The user's name in a broker address is one of those the broker will know."""
    accounts = set(re.findall(r"mqtt://([\w.{}]+)@broker", COMPOSE))
    known = {*SERVICES, "agent.{slot}", *(f"{role}.{{slot}}" for role in SLOTS)}
    assert accounts == known


def test_all_collectors_read_the_noise_key_that_is_prepared() -> None:
    """No other service mounts the volume that it is in."""
    assert f"FEDBUS_NOISE_KEY: /collectors/{NOISE_KEY}\n" in _services()["collector"]
    mounting = [name for name, text in _services().items() if "collectors:/" in text]
    assert mounting == ["collector", "prepare"]


def test_only_the_broker_has_a_port_and_only_on_this_machine() -> None:
    """All others are asked through it."""
    assert [name for name, text in _services().items() if "ports:" in text] == ["broker"]
    assert 'ports: ["127.0.0.1:${FEDBUS_PORT:-1883}:1883"]' in _services()["broker"]


def test_every_volume_that_is_mounted_is_declared() -> None:
    """And none is declared for nothing."""
    declared = set(
        re.findall(r"^  ([\w-]+): #", COMPOSE.partition("\nvolumes:\n")[2], re.MULTILINE)
    )
    mounted = set(re.findall(r"""(?:- |["\[ ])([a-z][\w-]+):/(?!/)""", COMPOSE))
    assert mounted == declared


def test_mongodb_starts_with_its_profile_alone_and_only_the_repository_reaches_it() -> None:
    """One file of variables turns it on, and both read the password that is prepared."""
    mongo, repository = _services()["mongo"], _services()["repository"]
    assert f'user: "{OWNERS["mongo"]}:{OWNERS["mongo"]}"' in mongo
    assert "profiles: [mongo]" in mongo
    assert "networks: [database]" in mongo
    on_network = [name for name, text in _services().items() if "database]" in text]
    assert on_network == ["repository", "mongo"]
    assert "\n  database: { internal: true }" in COMPOSE
    variables = dict(
        line.split("=", 1)
        for line in (ROOT / "mongo.env").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    )
    assert variables.pop("COMPOSE_PROFILES") == "mongo"
    assert all(f"{name}: ${{{name}:-}}" in repository for name in variables)
    settings = MongoSettings(variables["FEDBUS_STORE"], password="x")
    settings.check()
    assert f"MONGO_INITDB_ROOT_USERNAME: {settings.user}\n" in mongo
    assert settings.address == "mongo"
    assert "EXTRAS: mongo," in repository


def test_images_need_nothing_of_a_newer_engine() -> None:
    """Docker 20.10 builds them."""
    for newer in ("# syntax", "<<", "--mount", "--link", "start-interval", "@sha256"):
        assert newer not in DOCKERFILE


def test_images_are_made_for_a_python_the_packages_support() -> None:
    """The default one has wheels of tflite-runtime."""
    library = tomllib.loads((ROOT / "libs/fedbus/pyproject.toml").read_text(encoding="utf-8"))
    assert library["project"]["requires-python"] == ">=3.11,<3.14"
    assert "\nARG PYTHON=3.11\n" in DOCKERFILE
