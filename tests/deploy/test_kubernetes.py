"""The manifests are sound, and what they say fits the service and each other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest

from consumer.settings import load_settings
from consumer.settings.table import Settings
from consumer.wiring.topics import topic_specs
from tests.deploy.commands import known
from tests.deploy.kubernetes import (
    FOLDER,
    OF_KEDA,
    Manifest,
    built,
    kustomizations,
    manifests_in,
    one,
)
from tests.deploy.places import read_yaml

PRODUCTION = FOLDER / "production"
FOLDERS = pytest.mark.parametrize("folder", kustomizations(), ids=lambda folder: str(folder.name))
# The oldest that its makers still mend, and the newest that the schemas know.
VERSIONS = ("1.33", kubernetes_validate.latest_version())
MIB = 1024**2


# KEDA's definitions are in no package that is fit for tests. These are their words that we use, by
# its documentation (2.17: ScaledObject, TriggerAuthentication, the scaler for Apache Kafka), which
# checks no parameter of a trigger itself.
KEDA_WORDS = {
    "ScaledObject": {
        *("scaleTargetRef", "minReplicaCount", "maxReplicaCount", "pollingInterval"),
        *("cooldownPeriod", "fallback", "advanced", "triggers"),
    },
    "TriggerAuthentication": {"secretTargetRef"},
}
TRIGGER_WORDS = {
    *("topic", "bootstrapServers", "consumerGroup", "lagThreshold", "offsetResetPolicy"),
    *("excludePersistentLag", "version", "sasl", "tls"),
}


def _validate(manifest: Manifest) -> None:
    if not manifest["apiVersion"].startswith(OF_KEDA):
        for version in VERSIONS:
            kubernetes_validate.validate(manifest, version, strict=True)
        return
    assert manifest["spec"].keys() <= KEDA_WORDS[manifest["kind"]]
    for trigger in manifest["spec"].get("triggers", []):
        assert trigger.keys() == {"type", "metadata", "authenticationRef"}
        assert trigger["metadata"].keys() <= TRIGGER_WORDS
        assert all(isinstance(value, str) for value in trigger["metadata"].values())


@FOLDERS
def test_what_kustomize_makes_is_valid(folder: Path) -> None:
    """By the schemas of Kubernetes and the words of KEDA; another word is refused."""
    for manifest in built(folder):
        _validate(manifest)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("base/*.yaml")), ids=lambda path: path.name)
def test_manifests_of_the_base_are_valid_by_themselves(path: Path) -> None:
    """Also where there is no kustomize."""
    for manifest in manifests_in(path):
        if manifest["kind"] != "Kustomization":
            _validate(manifest)


def test_what_is_not_valid_is_noticed() -> None:
    """A misspelt word, in one of Kubernetes's manifests and in one of KEDA's."""
    deployment = manifests_in(FOLDER / "base" / "deployment.yaml")[0]
    deployment["spec"]["template"]["spec"]["enableServiceLink"] = False
    with pytest.raises(kubernetes_validate.ValidationError):
        _validate(deployment)
    scaled = manifests_in(PRODUCTION / "scaling.yaml")[0]
    scaled["spec"]["maxReplicas"] = 4
    with pytest.raises(AssertionError):
        _validate(scaled)


@FOLDERS
def test_kustomizations_refer_to_what_is_there(folder: Path) -> None:
    """Every file is there and used, and a patch is of something that the base has."""
    kustomization = read_yaml(folder / "kustomization.yaml")
    patches = [patch["path"] for patch in kustomization.get("patches", [])]
    settings = [name for map_ in kustomization["configMapGenerator"] for name in map_["envs"]]
    named = {"kustomization.yaml", *kustomization["resources"], *patches, *settings}
    base = [each for path in (FOLDER / "base").glob("*.yaml") for each in manifests_in(path)]
    names = {(each["kind"], each.get("metadata", {}).get("name")) for each in base}

    assert {path.name for path in folder.iterdir()} == named - {"../base"}
    assert [name for name in named if not (folder / name).exists()] == []
    for patch in patches:
        for each in manifests_in(folder / patch):
            assert (each["kind"], each["metadata"]["name"]) in names


def _pod(manifests: tuple[Manifest, ...]) -> Any:
    return one(manifests, "Deployment")["spec"]["template"]["spec"]


def _settings(manifests: tuple[Manifest, ...], folder: Path) -> Settings:
    """As the service in the pod would read them; mounted secrets are made up."""
    environment = dict(one(manifests, "ConfigMap")["data"])
    mounts = [mount["mountPath"] for mount in _pod(manifests)["containers"][0]["volumeMounts"]]
    for name, value in environment.items():
        if value.startswith("/"):
            assert str(Path(value).parent) in mounts, f"{name}: nothing is mounted there"
            file = folder / Path(value).name
            file.write_text("a-secret")
            environment[name] = str(file)
    return load_settings(environment)


@FOLDERS
def test_the_service_takes_its_settings(folder: Path, tmp_path: Path) -> None:
    """As it reads them itself, and each secret's file is mounted."""
    manifests = built(folder)
    settings = _settings(manifests, tmp_path)
    (container,) = _pod(manifests)["containers"]
    (port,) = container["ports"]
    (source,) = container["envFrom"]

    assert source["configMapRef"]["name"] == one(manifests, "ConfigMap")["metadata"]["name"]
    known(container["args"])
    assert port["containerPort"] == settings.admin.port
    assert settings.admin.host == "0.0.0.0"
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == port["name"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


@FOLDERS
def test_the_pod_is_confined(folder: Path) -> None:
    """The user of the image, no rights, nothing to write to but /tmp, no service links."""
    pod = _pod(built(folder))
    (container,) = pod["containers"]

    assert pod["enableServiceLinks"] is False
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    writable = [each["mountPath"] for each in container["volumeMounts"] if "readOnly" not in each]
    assert writable == ["/tmp"]  # noqa: S108 - it is the pod's own


@FOLDERS
def test_the_pod_has_time_to_drain_and_memory_for_its_bounds(folder: Path, tmp_path: Path) -> None:
    """What settings allow fits into what Kubernetes allows: killed for either, it repeats work."""
    manifests = built(folder)
    settings = _settings(manifests, tmp_path)
    pod = _pod(manifests)
    worst = 84 * MIB + 307 * MIB  # measured at full load; a heavy event's own process
    worst += 3 * settings.intake.max_bytes_in_flight + settings.intake.max_aside_bytes
    worst += settings.index.max_bytes
    limit = pod["containers"][0]["resources"]["limits"]["memory"]

    assert pod["terminationGracePeriodSeconds"] >= settings.shutdown.drain_seconds + 10
    assert int(limit.removesuffix("Mi")) * MIB >= worst


@FOLDERS
def test_selectors_choose_the_pods(folder: Path) -> None:
    """An empty selector would be all pods of the namespace; a wrong one, none."""
    manifests = built(folder)
    labels = one(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        one(manifests, "Deployment")["spec"]["selector"]["matchLabels"],
        one(manifests, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        one(manifests, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        one(manifests, "Service")["spec"]["selector"],
    ]

    for selector in selectors:
        assert selector
        assert selector.items() <= labels.items()


@FOLDERS
def test_the_network_policy_lets_out_to_kafka_and_anythingllm(folder: Path, tmp_path: Path) -> None:
    """To the namespaces and ports that the settings name, to name look-ups, and nowhere else."""
    manifests = built(folder)
    settings = _settings(manifests, tmp_path)
    endpoint = urlsplit(settings.anythingllm.endpoint)
    brokers = settings.kafka.bootstrap_servers.split(",")
    wanted = {(_namespace(endpoint.hostname or ""), endpoint.port), ("kube-system", 53)}
    wanted |= {(_namespace(host), int(port)) for host, port in (b.split(":") for b in brokers)}

    rules = one(manifests, "NetworkPolicy")["spec"]["egress"]
    allowed = {
        (peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], port["port"])
        for rule in rules
        for peer in rule["to"]
        for port in rule["ports"]
    }
    assert allowed == wanted


def _namespace(host: str) -> str:
    found = re.fullmatch(r"[\w-]+\.([\w-]+)\.svc", host)
    assert found is not None, host
    return found[1]


def test_scaling_looks_at_the_group_s_own_lag(tmp_path: Path) -> None:
    """Of both topics that it reads, with the brokers' own TLS and SASL, within the partitions."""
    manifests = built(PRODUCTION)
    settings = _settings(manifests, tmp_path)
    spec = one(manifests, "ScaledObject")["spec"]
    secrets = one(manifests, "TriggerAuthentication")["spec"]["secretTargetRef"]
    deployment = one(manifests, "Deployment")
    kafka = settings.kafka

    assert spec["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"], "every apply would undo the scaling"
    read = {trigger["metadata"]["topic"] for trigger in spec["triggers"]}
    assert read == {kafka.documents_topic, kafka.replay_topic}
    for trigger in (each["metadata"] for each in spec["triggers"]):
        assert trigger["bootstrapServers"] == kafka.bootstrap_servers
        assert trigger["consumerGroup"] == kafka.group_id
        assert trigger["offsetResetPolicy"] == kafka.auto_offset_reset
        assert trigger["sasl"] == kafka.sasl_mechanism.lower().replace("sha-", "sha").replace(
            "-", "_"
        )
        assert trigger["tls"] == "enable"
    partitions = {each.name: each.partitions for each in topic_specs(settings)}
    assert spec["maxReplicaCount"] <= partitions[kafka.documents_topic]
    mounted = {
        each["secret"]["secretName"] for each in _pod(manifests)["volumes"] if "secret" in each
    }
    assert {each["name"] for each in secrets} <= mounted
