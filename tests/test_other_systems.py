"""`docs/other-systems.md`: what it says is answered here is an endpoint."""

import re

import pytest

from tests.page_commands import ROOT

PAGE = "docs/other-systems.md"
ENDPOINT = re.compile(r"`((?:GET|POST|PUT|DELETE) (/[^`]*))`")
"""A request in the page."""
OF_EVERY_SERVICE = {"GET /metrics", "GET /"}
"""Endpoints that `docs/http.md` describes in its text: all services have them."""


def rows() -> list[list[str]]:
    """List the rows of the page's tables: a request, what answers it here, what differs."""
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    found = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [row for row in found if row[0].strip() != "request"]


def spelled_out(request: str) -> set[str]:
    """Return a request without and with the part of its path in brackets."""
    without, with_it = re.sub(r"\[[^\]]*\]", "", request), re.sub(r"[\[\]]", "", request)
    return {without, with_it}


def stated() -> set[str]:
    """Return the requests of the second column."""
    return {
        each
        for row in rows()
        for request, _ in ENDPOINT.findall(row[1])
        for each in spelled_out(request)
    }


def test_each_request_that_is_answered_here_is_an_endpoint() -> None:
    """`docs/http.md` is generated from the tables of endpoints."""
    listed = (ROOT / "docs/http.md").read_text(encoding="utf-8")
    endpoints = set(re.findall(r"^\| `([A-Z]+ /[^`]*)` \|", listed, re.MULTILINE))
    assert len(stated()) > 30
    assert stated() - endpoints - OF_EVERY_SERVICE == set()


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0].strip()[:60])
def test_a_request_without_an_endpoint_has_an_answer(row: list[str]) -> None:
    """Each row has three cells, and says what to use, or which status is answered."""
    assert len(row) == 3
    assert row[1].strip()
    assert row[1].strip() != "none" or row[2].strip()
