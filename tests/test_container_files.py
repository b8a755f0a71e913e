"""Dockerfile, compose file and workflow, as far as they can be checked where no Docker engine runs: that they parse, and
that what they name exists."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.real.conftest import MATERIALIZE, RISINGWAVE
from tycostream.config.hosts import public_host_problem
from tycostream.config.load import load
from tycostream.demo import materialize, risingwave

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


def test_the_image_is_built_in_stages_and_does_not_run_as_root() -> None:
    stages = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(stages) == 2
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER ([1-9]\d*):([1-9]\d*)$", last, re.MULTILINE)
    assert "\nEXPOSE 4000\n" in last
    assert '\nENTRYPOINT ["tycostream"]\n' in last


def test_the_image_is_given_what_the_build_needs_and_nothing_else() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    wanted = {name for names in copied for name in names.split()}
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == wanted
    assert all((ROOT / name).exists() for name in wanted)


def healthcheck() -> str:
    """The program that asks whether the server in the container is alive."""
    found = re.search(r'CMD (\["python", "-c", ".+"\])', DOCKERFILE)
    assert found
    return str(json.loads(found[1])[2])


def test_the_healthcheck_is_python() -> None:
    compile(healthcheck(), "healthcheck", "exec")
    assert "/healthz" in healthcheck()


def test_every_service_waits_for_one_that_there_is() -> None:
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            assert other in SERVICES, name
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other]
            if how["condition"] == "service_completed_successfully":
                assert "restart" not in SERVICES[other]


def test_ports_are_published_on_this_machine_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_images_have_versions() -> None:
    images = {service["image"] for service in SERVICES.values()}
    assert all(re.fullmatch(r"\S+:(v\d+\.\d+\.\d+|dev)", image) for image in images)


@pytest.mark.parametrize(
    ("name", "urls"),
    [
        ("tycostream", {"main": "postgresql://materialize@materialize:6875/materialize"}),
        (
            "both",
            {
                "materialize": "postgresql://materialize@materialize:6875/materialize",
                "risingwave": "postgresql://root@risingwave:4566/dev",
            },
        ),
    ],
)
def test_the_servers_of_the_compose_file_start(name: str, urls: dict[str, str], tmp_path: Path) -> None:
    service = SERVICES[name]
    source, target, mode = service["volumes"][0].split(":")
    assert (target, mode) == ("/etc/tycostream/tycostream.yaml", "ro")
    assert target in DOCKERFILE
    environment = {
        name: re.sub(r"\$\{\w+:-(.*)\}", r"\1", text) for name, text in service["environment"].items()
    }
    (tmp_path / "tycostream.yaml").write_text((ROOT / source).read_text())
    config = load(tmp_path / "tycostream.yaml", environment)
    assert {database: one.url for database, one in config.databases.items()} == urls
    assert public_host_problem(config.server.model_copy(update={"host": "0.0.0.0"}), None) == ""


def test_what_needs_a_profile_is_waited_for_only_by_what_needs_it_too() -> None:
    for name, service in SERVICES.items():
        for other in service.get("depends_on", {}):
            assert set(SERVICES[other].get("profiles", [])) <= set(service.get("profiles", [])), name


def test_the_releases_are_those_of_the_tests() -> None:
    assert SERVICES["materialize"]["image"] == MATERIALIZE
    assert SERVICES["risingwave"]["image"] == RISINGWAVE


@pytest.mark.parametrize("module", [materialize, risingwave])
@pytest.mark.parametrize("name", ["schema", "seeder"])
def test_the_seeders_commands_are_its_own(
    module: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = SERVICES[name if module is materialize else f"risingwave-{name}"]
    assert service["entrypoint"] == ["python", "-m", module.__name__]
    command = [re.sub(r"\$\{\w+:-(.*)\}", r"\1", word) for word in service["command"]]
    parsed: list[argparse.Namespace] = []

    def stop(parser: argparse.ArgumentParser, *_: object) -> None:
        parsed.append(real(parser, command))
        raise KeyboardInterrupt

    real = argparse.ArgumentParser.parse_args
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    with pytest.raises(KeyboardInterrupt):
        module.main()
    assert parsed[0].schema_only is (name == "schema")
    assert parsed[0].rate == 20


def test_the_example_of_an_environment_reads(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text((ROOT / ".env.example").read_text())
    (tmp_path / "t.yaml").write_text(
        "databases: {main: {engine: materialize, url: '${DATABASE_URL}'}}\nsources: {a: {}}\n"
        "server: {cursor_key: ['${CURSOR_KEY:-none}']}\n"
    )
    config = load(tmp_path / "t.yaml", {})
    assert config.databases["main"].url == "postgresql://materialize@localhost:6875/materialize"


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.name
)
def test_workflows_parse_and_bound_their_time(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 60, name
        for step in job["steps"]:
            for target in re.findall(r"\bmake ([a-z0-9-]+)", step.get("run", "")):
                assert target in targets
