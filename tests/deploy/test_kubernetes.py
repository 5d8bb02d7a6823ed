"""deploy/kubernetes/: by the schemas of the oldest and the newest version that is looked after, and its parts agree
with each other, with the image and with the daemon."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from broker.daemon_settings import Settings
from store.opening import parse_url
from tests.support.daemon import ROOT
from utxod import __version__
from utxod.commands import cli
from utxod.settings import load_settings

FOLDER = ROOT / "deploy" / "kubernetes"
CONTAINERFILE = (ROOT / "deploy" / "Containerfile").read_text()
OBJECTS: list[dict[str, Any]] = [
    part for file in sorted(FOLDER.glob("*.yaml")) for part in yaml.safe_load_all(file.read_text())
]
VERSIONS = ["1.30", kubernetes_validate.latest_version()]
MEBIBYTE = 1 << 20
# What a worker is, and what the daemon is, with nothing in hand.
PROCESS_BYTES = 64 * MEBIBYTE


def of(kind: str, name: str = "utxod") -> Any:
    (found,) = [part for part in OBJECTS if (part["kind"], part["metadata"]["name"]) == (kind, name)]
    return found


POD = of("StatefulSet")["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
PORTS = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
MOUNTED = {mount["mountPath"]: mount["name"] for mount in CONTAINER["volumeMounts"]}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """What the daemon finds at the place that the image names."""
    (config,) = re.findall(r"UTXOD_CONFIG=(\S+)", CONTAINERFILE)
    volumes = {volume["name"]: volume for volume in POD["spec"]["volumes"]}
    data = of("ConfigMap", volumes[MOUNTED[str(Path(config).parent)]]["configMap"]["name"])["data"]
    (tmp_path / "utxod.toml").write_text(data[Path(config).name])
    return load_settings(Settings, tmp_path / "utxod.toml", {})


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("part", OBJECTS, ids=lambda part: f"{part['kind']} {part['metadata']['name']}")
def test_its_schema_takes_each_object(part: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(part, version, strict=True)


def test_its_schema_would_not_take_what_it_does_not_know() -> None:
    wrong = {**of("Service"), "spec": {**of("Service")["spec"], "port": 9460}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


def test_everything_that_selects_pods_selects_these() -> None:
    labels = POD["metadata"]["labels"].items()
    selectors = [of("Service")["spec"]["selector"], of("Service", "utxod-daemons")["spec"]["selector"]]
    selectors += [of(kind)["spec"]["selector"]["matchLabels"] for kind in ("StatefulSet", "PodDisruptionBudget")]
    selectors.append(of("NetworkPolicy")["spec"]["podSelector"]["matchLabels"])
    selectors += [spread["labelSelector"]["matchLabels"] for spread in POD["spec"]["topologySpreadConstraints"]]
    assert all(selector and selector.items() <= labels for selector in selectors)
    assert of("Service", of("StatefulSet")["spec"]["serviceName"])["spec"]["clusterIP"] == "None"


def test_every_volume_is_declared_and_every_claim_is_there() -> None:
    declared = {volume["name"] for volume in POD["spec"]["volumes"]}
    declared |= {claim["metadata"]["name"] for claim in of("StatefulSet")["spec"]["volumeClaimTemplates"]}
    assert set(MOUNTED.values()) == declared
    for volume in POD["spec"]["volumes"]:
        if claim := volume.get("persistentVolumeClaim"):
            assert of("PersistentVolumeClaim", claim["claimName"])["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_settings_and_the_pod_agree(settings: Settings) -> None:
    parse_url(settings.store)
    assert settings.store.startswith("aerospike://")
    tcp = [endpoint for endpoint in settings.listen if endpoint.startswith("tcp://")]
    assert {int(endpoint.rpartition(":")[2]) for endpoint in tcp} == {PORTS["submitters"]}
    assert int(settings.metrics.rpartition(":")[2]) == PORTS["figures"]
    (blobs,) = re.findall(r"blobs=([^&]+)", settings.store)
    (socket,) = [endpoint.removeprefix("ipc://") for endpoint in settings.listen if endpoint.startswith("ipc://")]
    assert {blobs, settings.state, str(Path(socket).parent)} <= MOUNTED.keys()
    assert f"UTXOD_CONNECT=ipc://{socket}" in CONTAINERFILE


def test_ports_are_called_as_the_pod_calls_them() -> None:
    services = [port for name in ("utxod", "utxod-daemons") for port in of("Service", name)["spec"]["ports"]]
    assert {port["targetPort"] for port in services} == PORTS.keys()
    assert all(port["port"] == PORTS[port["targetPort"]] for port in services)
    allowed = [port["port"] for rule in of("NetworkPolicy")["spec"]["ingress"] for port in rule["ports"]]
    assert sorted(allowed) == sorted(PORTS)
    probes = [CONTAINER[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert [(probe["path"], probe["port"]) for probe in probes] == [
        ("/health/ready", "figures"),
        ("/health/live", "figures"),
        ("/health/ready", "figures"),
    ]
    annotations = POD["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(PORTS["figures"])


def test_it_is_told_to_drain_and_has_the_time_to(settings: Settings) -> None:
    program, command = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
    assert program == "utxod"
    assert command in cli.commands
    assert POD["spec"]["terminationGracePeriodSeconds"] > settings.drain_seconds + 15


def test_its_memory_holds_what_may_wait_and_its_workers(settings: Settings) -> None:
    resources = CONTAINER["resources"]
    assert resources["requests"] == resources["limits"]
    memory = int(resources["limits"]["memory"].removesuffix("Gi")) * 1024 * MEBIBYTE
    processes = settings.workers.total + 3  # the daemon, the figures' process, the recorder
    assert memory > 3 * settings.broker.queue_bytes + processes * PROCESS_BYTES


def test_it_is_the_image_of_this_version_run_as_its_user_and_shut_in() -> None:
    assert CONTAINER["image"].rpartition(":")[2] == __version__
    security = POD["spec"]["securityContext"]
    assert f"USER {security['runAsUser']}:{security['runAsGroup']}" in CONTAINERFILE
    assert security["fsGroup"] == security["runAsGroup"]
    assert security["runAsNonRoot"]
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_one_daemon_at_a_time_may_be_taken_away_and_others_stay() -> None:
    assert of("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    assert of("StatefulSet")["spec"]["replicas"] > 1
