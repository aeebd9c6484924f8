"""The compose files are sound, and what they say fits the service and each other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from compose_spec import PyCompose, parse_duration

from consumer.sandbox.kafka.jars import KAFKA_VERSION
from consumer.settings import load_settings
from tests.deploy.commands import known
from tests.deploy.places import DEPLOY, MONITORING, read_yaml

FILES = ("compose.yaml", "compose.demo.yaml")
OURS = re.compile(r"anythingllm-consumer:\w+")


def _services(name: str) -> dict[str, dict[str, Any]]:
    services: dict[str, dict[str, Any]] = read_yaml(DEPLOY / name)["services"]
    return services


def _ours() -> list[Any]:
    return [
        pytest.param(service, id=f"{name} {key}")
        for name in FILES
        for key, service in _services(name).items()
        if OURS.fullmatch(service["image"])
    ]


@pytest.mark.parametrize("name", FILES)
def test_it_is_a_compose_file(name: str) -> None:
    """By the Compose Specification: names, types, durations, ports."""
    assert PyCompose.from_json(json.dumps(read_yaml(DEPLOY / name))).service_names()


@pytest.mark.parametrize(
    "wrong",
    [
        {"services": {"a": {"image": "x", "halthcheck": {}}}},
        {"services": {"a": {"image": "x", "stop_grace_period": "40 parsecs"}}},
    ],
)
def test_what_is_no_compose_file_is_noticed(wrong: dict[str, Any]) -> None:
    """A word that Compose does not know, and a value that it can't read."""
    with pytest.raises(ValueError, match=r"halthcheck|parsecs"):
        PyCompose.from_json(json.dumps(wrong))


@pytest.mark.parametrize("name", FILES)
def test_what_services_refer_to_is_there(name: str) -> None:
    """Other services, volumes, secrets, and the files that are mounted."""
    whole = read_yaml(DEPLOY / name)
    for service in whole["services"].values():
        assert whole["services"].keys() >= set(service.get("depends_on", {}))
        assert whole.get("secrets", {}).keys() >= set(service.get("secrets", []))
        for source in (volume.split(":")[0] for volume in service.get("volumes", [])):
            if source.startswith("."):
                assert (DEPLOY / source).is_file(), source
            else:
                assert source in whole["volumes"]


@pytest.mark.parametrize("name", FILES)
def test_images_are_named_by_version_and_ports_stay_on_this_machine(name: str) -> None:
    """`latest` is another image tomorrow; a port without an address is open to the network."""
    for service in _services(name).values():
        tag = service["image"].rpartition(":")[2]
        assert OURS.fullmatch(service["image"]) or re.fullmatch(r"v?\d+\.\d+\.\d+", tag)
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_the_kafka_is_the_one_that_is_tested() -> None:
    """The version that the tests run the service on."""
    for name in FILES:
        assert _services(name)["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"


@pytest.mark.parametrize("service", _ours())
def test_our_settings_and_commands_are_right(service: dict[str, Any], tmp_path: Path) -> None:
    """As the service itself reads them; a misspelt name would be its first error."""
    known(service["command"])
    environment = dict(service.get("environment", {}))
    for name in [name for name in environment if name.endswith("_FILE")]:
        key = environment[name].removeprefix("/run/secrets/")
        assert key in service["secrets"]
        (tmp_path / key).write_text("a-key")
        environment[name] = str(tmp_path / key)
    if environment:
        load_settings(environment)


def test_the_service_is_confined_and_may_drain() -> None:
    """Nothing to write to but /tmp, no rights, and more time than the drain takes."""
    for key in ("consumer", "topics"):
        service = _services("compose.yaml")[key]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
    for name in FILES:
        service = _services(name)["consumer"]
        settings = load_settings({"ANYTHINGLLM_API_KEY": "a-key"})
        grace = parse_duration(service["stop_grace_period"])
        assert grace > settings.shutdown.drain_seconds + 10


def test_prometheus_and_grafana_find_whom_they_ask() -> None:
    """Their files name services and ports of the compose file."""
    services = _services("compose.yaml")
    (job,) = read_yaml(MONITORING / "prometheus.yaml")["scrape_configs"]
    (source,) = read_yaml(MONITORING / "grafana" / "datasources.yaml")["datasources"]
    (provider,) = read_yaml(MONITORING / "grafana" / "dashboards.yaml")["providers"]
    (target,) = job["static_configs"][0]["targets"]
    mounted = [volume.split(":")[1] for volume in services["grafana"]["volumes"]]

    for address in (target, source["url"].removeprefix("http://")):
        name, _, port = address.partition(":")
        assert services[name]["ports"][0].endswith(f":{port}")
    assert any(path.startswith(f"{provider['options']['path']}/") for path in mounted)
