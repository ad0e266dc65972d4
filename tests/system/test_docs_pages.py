"""The pages at `/docs` in a real browser: tokens, requests, files, and the policy that they keep.

It needs Debian's `chromium` and the package `playwright`, which is not among fedbus's: without
them the test is skipped.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("swagger_ui_bundle")
pytest.importorskip("playwright.async_api", reason="the package playwright is not installed")

from fedbus import demo_data
from fedbus.http_api.scopes import SCOPES
from fedbus.http_api.token_file import change_tokens
from fedbus.http_api.tokens import HttpToken, token_of
from fedbus.mqtt.mosquitto import LocalBroker, free_port

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]

TOKEN = token_of(b"t" * 32)
PAGE_SECONDS = 60
ROWS = [[0.5] * 64]
REQUESTS: dict[str, list[tuple[str, dict[str, str], str | Path | None, str]]] = {
    "fedbus_repository": [
        ("get_strategy", {}, None, "200"),
        ("post_strategy", {}, json.dumps({"strategy_name": "mine"}), "201"),
        ("put_strategy_strategy_name", {"strategy_name": "mine"}, Path("a-file"), "204"),
        ("get_strategy_strategy_name", {"strategy_name": "mine"}, None, "200"),
        ("get_strategy_strategy_name", {"strategy_name": "none"}, None, "404"),
    ],
    "fedbus_controller": [
        ("get_job_status", {}, None, "200"),
        ("post_job_stop", {}, None, "200"),
        ("post_job", {}, "{}", "400"),
    ],
    "fedbus_edge_agent": [
        ("get_job_status", {}, None, "200"),
        ("post_model", {}, demo_data.read("model.json").decode(), "201"),
    ],
    "fedbus_inference": [
        ("get_v2_models_model", {"model": "digits"}, None, "200"),
        (
            "post_v1_models_model_predict",
            {"model": "digits"},
            json.dumps({"instances": ROWS}),
            "200",
        ),
    ],
}
"""For each service: an operation, its parameters, its body (or a file of a form), the status."""


@contextmanager
def service(module: str, folder: Path, broker: str) -> Iterator[str]:
    """Run a service with its API on a free port; yield its URL."""
    port, home = free_port(), folder / module
    home.mkdir()
    np.savez(home / "data.npz", x=np.array(ROWS, "f4"), y=np.zeros(1, "i8"))
    of_agent = {"FEDBUS_DATA": str(home / "data.npz"), "FEDBUS_HOME": str(home)}
    own = {
        "fedbus_repository": {"FEDBUS_DATA": str(home)},
        "fedbus_controller": {},
        "fedbus_edge_agent": of_agent,
        "fedbus_inference": {"FEDBUS_BROKER": "none", "FEDBUS_MODELS": str(folder / "models")},
    }[module]
    environ = {
        **os.environ,
        "FEDBUS_BROKER": broker,
        "FEDBUS_HTTP": f"127.0.0.1:{port}",
        "FEDBUS_HTTP_TOKENS_FILE": str(folder / "tokens"),
        **own,
    }
    with (
        (home / "log").open("wb") as log,
        subprocess.Popen([sys.executable, "-m", module], env=environ, stderr=log) as process,
    ):
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Run a broker and a service of each kind with an API; yield their URLs."""
    change_tokens(tmp_path / "tokens", lambda _: (HttpToken.of("all", SCOPES, TOKEN),))
    model = tmp_path / "models/digits/1"
    model.mkdir(parents=True)
    for name in ("model.json", "digits.tflite"):
        (model / name).write_bytes(demo_data.read(name))
    with LocalBroker(tmp_path / "broker") as broker:
        running = [service(module, tmp_path, broker.address().url) for module in REQUESTS]
        with running[0] as a, running[1] as b, running[2] as c, running[3] as d:
            yield dict(zip(REQUESTS, (a, b, c, d), strict=True))


@asynccontextmanager
async def browser_page() -> AsyncIterator[tuple[Any, list[str]]]:
    """Open a page in Chromium; yield it with a list of what its console says is wrong."""
    said: list[str] = []
    async with import_module("playwright.async_api").async_playwright() as found:
        browser = await found.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        page = await browser.new_page(viewport={"width": 1300, "height": 1600})
        page.set_default_timeout(PAGE_SECONDS * 1000)
        page.on("console", lambda line: said.append(f"{line.type}: {line.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        try:
            yield page, said
        finally:
            await browser.close()


async def open_docs(page: Any, url: str) -> None:  # noqa: ANN401 - of an optional package
    """Open the page of a service, which may still be starting, and give it the token."""
    while True:
        try:
            await page.goto(f"{url}/docs")
            break
        except Exception as error:  # of a package that is not installed where this is checked
            if "ERR_CONNECTION_REFUSED" not in str(error):
                raise
    await page.click(".btn.authorize")
    await page.fill(".auth-container input", TOKEN)
    await page.click(".auth-btn-wrapper button[type=submit]")
    await page.click(".auth-btn-wrapper .btn-done")


async def send(
    page: Any,  # noqa: ANN401 - as above
    operation: str,
    parameters: dict[str, str],
    body: str | Path | None,
) -> str:
    """Send a request with "Try it out"; return the status that the page shows."""
    block = page.locator(f"#operations-default-{operation}")
    if await block.locator(".execute").count() == 0:
        await block.locator(".opblock-summary").click()
        await block.locator(".try-out__btn").click()
    for name, value in parameters.items():
        await block.locator(f"tr[data-param-name={name}] input").fill(value)
    if isinstance(body, Path):
        await block.locator("input[type=file]").set_input_files(body)
    elif body is not None:
        await block.locator("textarea.body-param__text").fill(body)
    if await block.locator(".btn-clear").count():
        await block.locator(".btn-clear").click()
    await block.locator(".execute").click()
    shown = block.locator(".live-responses-table .response-col_status").nth(1)
    return str((await shown.inner_text()).split()[0])


@pytest.mark.parametrize("module", REQUESTS)
async def test_the_page_of_a_service_sends_requests_and_breaks_no_policy(
    deployment: dict[str, str], module: str, tmp_path: Path
) -> None:
    """A policy that stops the page's own scripts, styles or requests is seen in a browser only."""
    (tmp_path / "a-file").write_bytes(b"123")
    async with browser_page() as (page, said):
        await open_docs(page, deployment[module])
        found = []
        for operation, parameters, body, status in REQUESTS[module]:
            given = tmp_path / body if isinstance(body, Path) else body
            found.append((operation, await send(page, operation, parameters, given), status))
            await page.screenshot(path=tmp_path / f"{module}-{operation}.png", full_page=True)
        assert [each[:2] for each in found] == [each[::2] for each in found]
        refused = [line for line in said if "status of 4" not in line]
        assert not refused, refused
