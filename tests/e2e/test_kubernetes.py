"""deploy/kubernetes: what Kubernetes' schemas say of it, and that its parts fit together."""

from __future__ import annotations

import pathlib
import re
import subprocess

import kubernetes_validate
import pytest
import yaml
from manifests import (  # noqa: F401  a fixture too
    DEPLOY,
    GUIDE,
    Object,
    all_of,
    base,
    container_of,
    expect_known,
    in_bytes,
    kustomized,
    needs_kubectl,
    objects,
    one,
    pod_of,
    ports_of,
    settings_of,
)
from serving import BINARY, ROOT
from test_alerts import RULES


@pytest.fixture(params=[pytest.param("gpu", marks=needs_kubectl)])
def on_gpu(request: pytest.FixtureRequest) -> list[Object]:
    return kustomized(request.param)


# What Kubernetes takes


def test_every_object_is_one_that_kubernetes_knows(objects: list[Object]) -> None:
    assert {each["kind"] for each in objects} == {
        "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy",
        "PersistentVolumeClaim", "PodDisruptionBudget", "Service"}
    for each in objects:
        expect_known(each)
        assert "namespace" not in each["metadata"]
    unknown = one(objects, "Deployment") | {"spec": one(objects, "Deployment")["spec"] | {"x": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        expect_known(unknown)


def test_every_file_is_used() -> None:
    used = {pathlib.Path("base/kustomization.yaml"), pathlib.Path("base/server.yaml")}
    used |= {"base" / pathlib.Path(name) for name in yaml.safe_load(
        (DEPLOY / "base/kustomization.yaml").read_text())["resources"]}
    for overlay in ("cpu", "gpu"):
        folder = pathlib.Path("overlays") / overlay
        used.add(folder / "kustomization.yaml")
        parts = yaml.safe_load((DEPLOY / folder / "kustomization.yaml").read_text())
        used |= {folder / each["path"] for each in parts.get("patches", []) if "path" in each}
    used |= {pathlib.Path("prometheus") / name for name in ("adapter.yaml", "service-monitor.yaml")}
    assert {path.relative_to(DEPLOY) for path in DEPLOY.rglob("*") if path.is_file()} == used
    for path in used - {pathlib.Path("base/kustomization.yaml")}:
        named = str(path.parent if path.parts[0] == "overlays" else path)
        assert f"`{named}`" in GUIDE, f"the guide does not say what {named} is for"


def test_the_pod_keeps_to_the_restricted_standard(objects: list[Object]) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/, and a little more."""
    pod, container = pod_of(objects)["spec"], container_of(objects)
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & pod.keys()
    assert {next(iter(volume.keys() - {"name"})) for volume in pod["volumes"]} <= {
        "configMap", "emptyDir", "persistentVolumeClaim", "secret"}
    assert not any("hostPort" in port for port in container["ports"])
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]}}
    assert pod["automountServiceAccountToken"] is False and pod["enableServiceLinks"] is False
    writable = {mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert writable <= {volume["name"] for volume in pod["volumes"] if "emptyDir" in volume}


# What fits together


def test_selectors_choose_the_servers(objects: list[Object]) -> None:
    deployment = one(objects, "Deployment")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    selectors = [deployment["selector"]["matchLabels"],
                 one(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
                 one(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]]
    selectors += [service["spec"]["selector"] for service in all_of(objects, "Service")]
    selectors += [spread["labelSelector"]["matchLabels"]
                  for spread in deployment["template"]["spec"]["topologySpreadConstraints"]]
    assert len(selectors) == 7
    for selector in selectors:
        assert selector and selector.items() <= labels.items()
    scaled = one(objects, "HorizontalPodAutoscaler")["spec"]
    target = scaled["scaleTargetRef"]
    named = one(objects, target["kind"], target["name"])
    assert named["apiVersion"] == target["apiVersion"] and "replicas" not in named["spec"]
    assert one(objects, "PodDisruptionBudget")["spec"]["maxUnavailable"] < scaled["minReplicas"]


def test_volumes_are_there(objects: list[Object]) -> None:
    pod, container = pod_of(objects)["spec"], container_of(objects)
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes.keys()
    assert not any("subPath" in mount for mount in container["volumeMounts"])
    for volume in volumes.values():
        if "configMap" in volume:
            one(objects, "ConfigMap", volume["configMap"]["name"])
        if "persistentVolumeClaim" in volume:
            one(objects, "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"])
        if "secret" in volume:
            name = volume["secret"]["secretName"]
            assert re.search(rf"^kubectl create secret \w+ {name} ", GUIDE, re.MULTILINE), name


def test_ports_are_the_servers(objects: list[Object]) -> None:
    settings, ports = settings_of(objects), ports_of(objects)
    assert ports == {name: settings[name]["port"] for name in ("http", "grpc", "metrics")}
    for service in all_of(objects, "Service"):
        for port in service["spec"]["ports"]:
            assert port["targetPort"] == port["name"] in ports
            assert port["port"] == ports[port["name"]]
    pod = one(objects, "Service", "verdict-servers")["spec"]
    assert pod["clusterIP"] == "None" and "clusterIP" not in one(
        objects, "Service", "verdict")["spec"]
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container_of(objects)[name]["httpGet"]["port"] == "http"


def test_the_network_lets_each_to_its_port_and_nobody_to_admin(objects: list[Object]) -> None:
    policy = one(objects, "NetworkPolicy")["spec"]
    assert sorted(policy["policyTypes"]) == ["Egress", "Ingress"] and policy["egress"] == []
    opened = {}
    for rule in policy["ingress"]:
        assert len(rule["from"]) == 1 and rule["from"][0]["podSelector"]["matchLabels"]
        opened[frozenset(port["port"] for port in rule["ports"])] = rule["from"][0]
    assert opened.keys() == {frozenset({"http", "grpc"}), frozenset({"metrics"})}
    label = opened[frozenset({"http", "grpc"})]["podSelector"]["matchLabels"]
    assert label == {"verdict-client": "true"} and '`verdict-client: "true"`' in GUIDE
    assert opened[frozenset({"metrics"})]["namespaceSelector"]["matchLabels"]
    settings = settings_of(objects)
    assert settings["admin"]["host"] == "127.0.0.1"
    assert settings["http"]["host"] == settings["metrics"]["host"] == "0.0.0.0"
    assert settings["admin"]["port"] not in ports_of(objects).values()
    assert settings["auth"]["admin_on_inference_port"] is False


def test_there_is_time_to_end(objects: list[Object]) -> None:
    """test_server_shutdown.py shows that a server does not take longer."""
    text = (ROOT / "docs" / "reference" / "configuration.md").read_text()
    by_force = int(re.search(r"ended by force, .*?: (\d+) s after the end of `drain_ms`", text)[1])
    settings = settings_of(objects)
    waited = container_of(objects)["lifecycle"]["preStop"]["sleep"]["seconds"]
    longest = waited + settings["drain_ms"] / 1000 + by_force
    assert longest + 2 <= pod_of(objects)["spec"]["terminationGracePeriodSeconds"] <= longest + 10
    # The first until all nodes know that the pod has left the services; the second until clients
    # have sent one more request on the connections that they keep.
    assert waited >= 3 and settings["drain_ms"] >= 1000


def test_resources_are_whole_cpus_and_hold_what_the_server_may_take(objects: list[Object]) -> None:
    resources = container_of(objects)["resources"]
    assert resources["requests"] == resources["limits"]
    assert int(resources["limits"]["cpu"]) >= 2
    settings = settings_of(objects)
    assert 4 * settings["http"]["max_held_body_bytes"] <= in_bytes(resources["limits"]["memory"])
    temporary = [in_bytes(volume["emptyDir"]["sizeLimit"])
                 for volume in pod_of(objects)["spec"]["volumes"] if "emptyDir" in volume]
    assert 4 * sum(temporary) <= in_bytes(resources["limits"]["memory"])
    assert settings["limits"]["total"]["max_in_flight"] > 0


@needs_kubectl
@pytest.mark.parametrize(("overlay", "variant"), [("cpu", ""), ("gpu", "-tensorrt")])
def test_images_are_of_this_version(overlay: str, variant: str) -> None:
    said = subprocess.run([BINARY, "--version"], capture_output=True, text=True, timeout=60).stdout
    image = container_of(kustomized(overlay))["image"]
    assert image == f"registry.example/verdict:{said.split()[1]}{variant}"


def test_the_gpu_overlay_asks_for_one_gpu_and_uses_it(on_gpu: list[Object]) -> None:
    pod, container = pod_of(on_gpu)["spec"], container_of(on_gpu)
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in (
        pod["tolerations"])
    assert one(on_gpu, "Deployment")["spec"]["strategy"]["rollingUpdate"] == {
        "maxSurge": 0, "maxUnavailable": 1}
    settings = settings_of(on_gpu)
    assert settings["device"]["backend"] == "tensorrt"
    assert settings["compute"]["threads"] > int(container["resources"]["limits"]["cpu"])
    metrics = one(on_gpu, "HorizontalPodAutoscaler")["spec"]["metrics"]
    assert [metric["type"] for metric in metrics] == ["Pods"]
    assert "nvidia.com/gpu" not in container_of(base())["resources"]["limits"]


# Prometheus' operator


def test_the_service_monitor_finds_every_server_once_as_the_alerts_job(
    objects: list[Object]
) -> None:
    monitor = yaml.safe_load((DEPLOY / "prometheus" / "service-monitor.yaml").read_text())
    assert (monitor["apiVersion"], monitor["kind"]) == (
        "monitoring.coreos.com/v1", "ServiceMonitor")
    spec = monitor["spec"]
    assert spec.keys() == {"jobLabel", "selector", "endpoints"}
    wanted = spec["selector"]["matchLabels"].items()
    found = [service for service in all_of(objects, "Service")
             if wanted <= service["metadata"]["labels"].items()]
    assert [service["metadata"]["name"] for service in found] == ["verdict-servers"]
    job = found[0]["metadata"]["labels"][spec["jobLabel"]]
    jobs = set(re.findall(r'job="([^"]*)"', "".join(rule["expr"] for rule in RULES)))
    assert jobs == {job}
    [endpoint] = spec["endpoints"]
    assert endpoint["port"] == "metrics" in {port["name"] for port in found[0]["spec"]["ports"]}
    assert re.fullmatch(r"\d+s", endpoint["interval"])
    key = endpoint["authorization"]["credentials"]
    assert f"kubectl create secret generic {key['name']} --from-literal={key['key']}=" in GUIDE
