"""deploy/compose.yaml: by its schema, what it mounts and builds is there, and its daemons and those that look at them
agree about names, ports and settings."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.daemon_settings import Settings
from store.opening import parse_url
from tests.support.daemon import ROOT
from utxod.settings import load_settings

DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose.yaml"
WHOLE: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
SERVICES: dict[str, Any] = WHOLE["services"]
DAEMONS = ["utxod-1", "utxod-2"]
# Where the daemon's image listens.
CONTAINER = load_settings(Settings, DEPLOY / "container.toml", {})


def validate(file: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def mounts(service: str) -> list[tuple[str, str]]:
    """What is mounted, and where."""
    return [(parts[0], parts[1]) for parts in (entry.split(":") for entry in SERVICES[service]["volumes"])]


def settings(daemon: str) -> Settings:
    return load_settings(Settings, DEPLOY / "container.toml", SERVICES[daemon]["environment"], warn=pytest.fail)


def test_its_schema_takes_it_and_would_not_take_what_it_does_not_know(tmp_path: Path) -> None:
    assert validate(COMPOSE).returncode == 0, validate(COMPOSE).stdout
    wrong = tmp_path / COMPOSE.name
    wrong.write_text(COMPOSE.read_text().replace("stop_grace_period:", "stop_grace:"))
    assert validate(wrong).returncode != 0


@pytest.mark.parametrize("service", SERVICES)
def test_what_it_mounts_is_there(service: str) -> None:
    for source, target in mounts(service):
        assert (DEPLOY / source).exists() if source.startswith(".") else source in WHOLE["volumes"], source
        assert target.startswith("/")


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_has_a_version_unless_it_is_built_here(service: str) -> None:
    image, build = SERVICES[service]["image"], SERVICES[service].get("build")
    if build:
        assert (COMPOSE.parent / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Containerfile"
    else:
        assert re.fullmatch(r"docker\.io/\w+/[\w-]+:v?\d+(\.\d+)+", image)


def test_no_port_is_open_to_other_machines_or_used_twice() -> None:
    published = [port.rpartition(":")[0] for service in SERVICES.values() for port in service.get("ports", [])]
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+", place) for place in published)
    assert len(set(published)) == len(published)


@pytest.mark.parametrize("daemon", DAEMONS)
def test_a_daemon_publishes_what_it_listens_at(daemon: str) -> None:
    inside = {port.rpartition(":")[2] for port in SERVICES[daemon]["ports"]}
    ports = {endpoint.rpartition(":")[2] for endpoint in CONTAINER.listen if endpoint.startswith("tcp://")}
    assert inside == ports | {CONTAINER.metrics.rpartition(":")[2]}


def test_the_daemons_share_a_set_and_its_blobs_and_nothing_else() -> None:
    stores = {settings(daemon).store for daemon in DAEMONS}
    (store,) = stores
    parse_url(store)
    (blobs,) = re.findall(r"blobs=([^&]+)", store)
    shared = set(mounts(DAEMONS[0])) & set(mounts(DAEMONS[1]))
    assert shared == {("blobs", blobs)}
    for daemon in DAEMONS:
        assert settings(daemon).state in {target for _, target in mounts(daemon)}


def test_the_server_is_the_one_that_the_daemons_ask_for() -> None:
    host, port, namespace = re.fullmatch(
        r"aerospike://([\w-]+)(?::(\d+))?/(\w+)\?.*", settings(DAEMONS[0]).store
    ).groups()
    configuration = (DEPLOY / "aerospike" / "aerospike.conf").read_text()
    assert host in SERVICES
    assert f"namespace {namespace} {{" in configuration
    assert re.search(rf"service {{\s+address any\s+port {port or 3000}\b", configuration)
    option, file = SERVICES[host]["command"]
    (folder,) = [(source, target) for source, target in mounts(host) if source.startswith(".")]
    assert option == "--config-file"
    assert (DEPLOY / folder[0] / Path(file).relative_to(folder[1])).is_file()
    (device,) = re.findall(r"\bfile (\S+)", configuration)
    assert str(Path(device).parent) in {target for _, target in mounts(host)}


@pytest.mark.parametrize("daemon", DAEMONS)
def test_what_a_daemon_writes_to_can_be_written_to(daemon: str) -> None:
    """Its root is read only; a volume of the image's directory begins with its owner."""
    assert SERVICES[daemon]["read_only"]
    (made,) = re.findall(r"install -d .* (/run/utxod \S.*)", (DEPLOY / "Containerfile").read_text())
    targets = {target for _, target in mounts(daemon)}
    assert targets <= set(made.split())
    temporary = {entry.partition(":")[0] for entry in SERVICES[daemon]["tmpfs"]}
    sockets = {str(Path(endpoint.removeprefix("ipc://")).parent) for endpoint in CONTAINER.listen if "ipc" in endpoint}
    assert sockets <= temporary
    (user,) = re.findall(r"^USER (\d+):(\d+)$", (DEPLOY / "Containerfile").read_text(), flags=re.M)
    assert f"/run/utxod:uid={user[0]},gid={user[1]},mode=0750" in SERVICES[daemon]["tmpfs"]


@pytest.mark.parametrize("daemon", DAEMONS)
def test_a_daemon_may_drain(daemon: str) -> None:
    assert int(SERVICES[daemon]["stop_grace_period"].removesuffix("s")) > settings(daemon).drain_seconds + 10


def test_prometheus_looks_at_both_daemons() -> None:
    (targets,) = yaml.safe_load((DEPLOY / "prometheus-targets.yml").read_text())
    port = CONTAINER.metrics.rpartition(":")[2]
    assert targets["targets"] == [f"{daemon}:{port}" for daemon in DAEMONS]
    configuration = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (scrape,) = configuration["scrape_configs"]
    read = [*configuration["rule_files"], *(file for sd in scrape["file_sd_configs"] for file in sd["files"])]
    assert {f"/etc/prometheus/{name}" for name in read} < {target for _, target in mounts("prometheus")}


def test_grafana_has_the_dashboard_where_it_looks_and_prometheus_where_it_asks() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    (dashboards,) = [yaml.safe_load(file.read_text()) for file in (provisioning / "dashboards").iterdir()]
    (sources,) = [yaml.safe_load(file.read_text()) for file in (provisioning / "datasources").iterdir()]
    (looked,) = [provider["options"]["path"] for provider in dashboards["providers"]]
    (asked,) = [source["url"] for source in sources["datasources"]]
    assert looked in {str(Path(target).parent) for _, target in mounts("grafana")}
    host, port = re.fullmatch(r"http://([\w-]+):(\d+)", asked).groups()
    assert port in {entry.rpartition(":")[2] for entry in SERVICES[host]["ports"]}
