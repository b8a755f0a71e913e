"""The demo page: everything it needs is in the package, and nothing comes from elsewhere."""

from __future__ import annotations

import re

import pytest
from graphql import parse
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tycostream.demo import CONFIG_PATH
from tycostream.demo.pages import EXAMPLES, STATIC, routes


@pytest.fixture
def client():
    with TestClient(Starlette(routes=routes())) as client:
        yield client


def test_the_page_and_every_file_it_names_are_served_with_a_strict_policy(client):
    page = client.get("/demo")
    assert page.status_code == 200
    names = set(re.findall(r'(?:src|href)="(/demo/[^"]+)"', page.text))
    assert {"/demo/static/demo.js", "/demo/static/demo.css", "/demo/static/uPlot.iife.min.js"} <= names
    for path in ["/demo", "/demo/static/client.js", *sorted(names)]:
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert "script-src 'self'" in answer.headers["content-security-policy"]


def test_the_page_has_no_inline_script_or_style_and_names_no_other_host():
    page = (STATIC / "demo.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)
    for name in ("demo.html", "demo.css", "demo.js", "client.js"):
        assert "https://" not in (STATIC / name).read_text(), name


def test_a_file_that_is_not_there_is_not_found(client):
    assert client.get("/demo/static/absent.js").status_code == 404
    assert client.get("/demo/static/../pages.py").status_code == 404


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.split("{")[0].split()[-1])
def test_examples_are_graphql(example):
    parse(example)


def test_the_configuration_is_in_the_package():
    assert CONFIG_PATH.read_text().startswith("#")
