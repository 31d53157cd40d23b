"""deploy/kubernetes: what Kubernetes' schemas say of it, that its parts fit together, and a real
server with the pod's very settings, files, user and root file system, probed as the kubelet does.
"""

from __future__ import annotations

import base64
import http.client
import os
import pathlib
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator

import grpc
import kubernetes_validate
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton
import yaml
from code_blocks import code_blocks
from serving import ANSWER_TIMEOUT_S, BINARY, GOLDEN, ROOT, Server, golden, wait_for
from test_alerts import RULES, Prometheus, needs_prometheus, served_metrics
from test_grpc import inputs_of
from test_security import Authority, entry, serial
from test_server import check, infer_inputs

DEPLOY = ROOT / "deploy" / "kubernetes"
GUIDE = (ROOT / "docs" / "guides" / "deployment.md").read_text()
GUIDE = GUIDE.split("\n## Kubernetes\n")[1].split("\n## ")[0]
OLDEST = re.search(r"Kubernetes (1\.\d+) or later", GUIDE)[1]
NEWEST = kubernetes_validate.latest_version()
KUBECTL = shutil.which("kubectl")
MODEL = "skl_lr_binary"
TOKENS = {"checkout": "vdt_of_infer", "prometheus": "vdt_of_metrics"}

Object = dict


def has_kustomize() -> bool:
    if KUBECTL is None:
        return False
    said = subprocess.run([KUBECTL, "version", "--client", "-o", "yaml"], capture_output=True,
                          text=True, timeout=60).stdout
    return int((re.search(r"kustomizeVersion: v(\d+)", said) or [0, 0])[1]) >= 5


needs_kubectl = pytest.mark.skipif(
    not has_kustomize(), reason="kubectl with kustomize 5 is not installed")


def documents(text: str) -> list[Object]:
    return [each for each in yaml.safe_load_all(text) if each]


def base() -> list[Object]:
    """As kustomize puts it together, but for the ConfigMap's name."""
    folder = DEPLOY / "base"
    parts = yaml.safe_load((folder / "kustomization.yaml").read_text())
    found = [each for name in parts["resources"] for each in documents((folder / name).read_text())]
    for made in parts["configMapGenerator"]:
        found.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": made["name"]},
                      "data": {name: (folder / name).read_text() for name in made["files"]}})
    return found


def kustomized(name: str) -> list[Object]:
    done = subprocess.run([KUBECTL, "kustomize", DEPLOY / "overlays" / name], capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return documents(done.stdout)


@pytest.fixture(scope="module", params=[
    "base", pytest.param("cpu", marks=needs_kubectl), pytest.param("gpu", marks=needs_kubectl)])
def objects(request: pytest.FixtureRequest) -> list[Object]:
    return base() if request.param == "base" else kustomized(request.param)


@pytest.fixture(params=[pytest.param("gpu", marks=needs_kubectl)])
def on_gpu(request: pytest.FixtureRequest) -> list[Object]:
    return kustomized(request.param)


def all_of(objects: list[Object], kind: str) -> list[Object]:
    return [each for each in objects if each["kind"] == kind]


def one(objects: list[Object], kind: str, name: str | None = None) -> Object:
    found = [each for each in all_of(objects, kind) if name in (None, each["metadata"]["name"])]
    assert len(found) == 1, (kind, name, [each["metadata"]["name"] for each in found])
    return found[0]


def pod_of(objects: list[Object]) -> Object:
    return one(objects, "Deployment")["spec"]["template"]


def container_of(objects: list[Object]) -> Object:
    containers = pod_of(objects)["spec"]["containers"]
    assert len(containers) == 1
    return containers[0]


def ports_of(objects: list[Object]) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container_of(objects)["ports"]}


def settings_of(objects: list[Object]) -> Object:
    """As the server reads them, defaults and the container's environment included."""
    text = one(objects, "ConfigMap")["data"]["server.yaml"]
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "server.yaml"
        file.write_text(text)
        done = subprocess.run([BINARY, "serve", "--print-config", "--config", file],
                              env=environment_of(objects), capture_output=True, text=True,
                              timeout=60)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return yaml.safe_load(done.stdout)


def environment_of(objects: list[Object]) -> dict[str, str]:
    return os.environ | {each["name"]: each["value"]
                         for each in container_of(objects).get("env", [])}


def in_bytes(quantity: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", quantity).groups()
    return int(number) << {"Mi": 20, "Gi": 30}[unit]


# What Kubernetes takes


def expect_known(each: Object) -> None:
    for version in (OLDEST, NEWEST):
        kubernetes_validate.validate(each, version, strict=True)


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


def test_every_file_is_used(tmp_path: pathlib.Path) -> None:
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


# A real server


class Pod:
    """The container's command with the pod's volumes and settings, as far as that goes without a
    cluster: mount paths become folders, ports free ones of loopback.

    secrets: name -> key -> contents. environment: on top of the container's."""

    def __init__(self, objects: list[Object], folder: pathlib.Path,
                 secrets: dict[str, dict[str, bytes]], *, launcher: list[str] | None = None,
                 binary: pathlib.Path = BINARY, **environment: str) -> None:
        self.container = container_of(objects)
        self.grace_s = pod_of(objects)["spec"]["terminationGracePeriodSeconds"]
        self.folder = folder
        self._paths: dict[str, pathlib.Path] = {}
        volumes = {volume["name"]: volume for volume in pod_of(objects)["spec"]["volumes"]}
        for mount in self.container["volumeMounts"]:
            self._paths[mount["mountPath"]] = folder / mount["name"]
            (folder / mount["name"]).mkdir()
        for mount in self.container["volumeMounts"]:
            volume = volumes[mount["name"]]
            if "configMap" in volume:
                data = one(objects, "ConfigMap", volume["configMap"]["name"])["data"]
                self.project(mount["name"], {
                    key: self._mapped(text).encode() for key, text in data.items()}, 0o644)
            if "secret" in volume:
                self.project(mount["name"], secrets[volume["secret"]["secretName"]],
                             volume["secret"]["defaultMode"])
        self.models = self._paths["/models"]
        command = [self._mapped(part) for part in self.container["command"]]
        assert command[0] == "verdict"
        command[0] = str(binary)
        own = {f"VERDICT_{name}_PORT": "0" for name in ("HTTP", "GRPC", "METRICS", "ADMIN")}
        own |= {"VERDICT_HTTP_HOST": "127.0.0.1", "VERDICT_METRICS_HOST": "127.0.0.1"}
        self._log = folder / "log"
        with self._log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [*(launcher or []), *command], stdout=subprocess.PIPE, stderr=stderr, text=True,
                env=environment_of(objects) | own | environment, cwd="/")
        names = {"inference": "http", "admin": "admin", "gRPC": "grpc"}
        self.ports: dict[str, int] = {}
        self.schemes: dict[str, str] = {}
        for _ in range(4):
            line = self.process.stdout.readline()
            told = re.fullmatch(r"listening on (?:(https?)://)?127\.0\.0\.1:(\d+)(?:/metrics)?"
                                r"(?: \((\w+)\))?\n", line)
            assert told, f"{line!r}; log: {self.log()}"
            name = names[told[3]] if told[3] else "metrics"
            self.ports[name], self.schemes[name] = int(told[2]), told[1]

    def _mapped(self, text: str) -> str:
        paths = "|".join(sorted(map(re.escape, self._paths), key=len, reverse=True))
        return re.sub(rf"(?:{paths})\b", lambda found: str(self._paths[found[0]]), text)

    def project(self, volume: str, data: dict[str, bytes], mode: int) -> None:
        """As the kubelet does: files in a folder of their own, to which one link is moved."""
        target = self.folder / volume
        fresh = pathlib.Path(tempfile.mkdtemp(prefix="..", dir=target))
        fresh.chmod(0o755)
        for key, contents in data.items():
            (fresh / key).write_bytes(contents)
            (fresh / key).chmod(mode)
            if os.geteuid() == 0:
                os.chown(fresh / key, 0, 10001)
            if not (target / key).is_symlink():
                (target / key).symlink_to(pathlib.Path("..data") / key)
        (target / "..data_tmp").symlink_to(fresh.name)
        os.replace(target / "..data_tmp", target / "..data")

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def get(self, target: str, port: str = "http", token: str | None = None) -> int:
        """The status, as a caller that trusts any certificate and shows none is told."""
        anything = ssl.create_default_context()
        anything.check_hostname, anything.verify_mode = False, ssl.CERT_NONE
        kind = http.client.HTTPConnection
        more = {}
        if self.schemes[port] == "https":
            kind, more = http.client.HTTPSConnection, {"context": anything}
        connection = kind("127.0.0.1", self.ports[port], timeout=ANSWER_TIMEOUT_S, **more)
        try:
            connection.request("GET", target, headers=bearer(token))
            return connection.getresponse().status
        finally:
            connection.close()

    def probe(self, name: str) -> bool:
        """What the kubelet would take from it."""
        asked = self.container[name]["httpGet"]
        assert asked["scheme"].lower() == self.schemes[asked["port"]]
        return 200 <= self.get(asked["path"], asked["port"]) < 400

    def release(self, repository: pathlib.Path) -> None:
        """Moves the repository's models into place."""
        for model in repository.iterdir():
            shutil.copytree(model, self.models / f".{model.name}")
            os.replace(self.models / f".{model.name}", self.models / model.name)

    def pre_stop(self) -> None:
        action = self.container["lifecycle"]["preStop"]
        assert action.keys() == {"sleep"}
        time.sleep(action["sleep"]["seconds"])

    def end(self) -> int:
        self.process.terminate()
        try:
            return self.process.wait(40)
        finally:
            self.process.kill()


def bearer(token: str | None) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"} if token else {}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def certificate(authority: Authority) -> dict[str, bytes]:
    paths = authority.issue("server", "DNS:localhost,DNS:verdict,DNS:verdict-servers")
    return dict(zip(("tls.crt", "tls.key"), (path.read_bytes() for path in paths)))


@pytest.fixture(scope="module")
def secrets(authority: Authority) -> dict[str, dict[str, bytes]]:
    roles = {"checkout": "infer", "prometheus": "metrics"}
    clients = "tokens:\n" + "".join(entry(name, TOKENS[name], roles[name]) for name in TOKENS)
    return {"verdict-tls": certificate(authority),
            "verdict-clients": {"clients.yaml": clients.encode()}}


@pytest.fixture
def start(tmp_path: pathlib.Path, secrets) -> Iterator[Callable[..., Pod]]:
    running: list[Pod] = []

    def begin(objects: list[Object], **more) -> Pod:
        folder = tmp_path / f"pod-{len(running)}"
        folder.mkdir()
        running.append(Pod(objects, folder, more.pop("secrets", secrets), **{
            "VERDICT_REPOSITORY_POLL_INTERVAL_S": "1",
            "VERDICT_TLS_RELOAD_INTERVAL_S": "1"} | more))
        return running[-1]

    yield begin
    for pod in running:
        pod.process.kill()
        pod.process.wait()


def infer(pod: Pod, authority: Authority, token: str = TOKENS["checkout"]) -> None:
    """A new connection, over HTTP and over gRPC."""
    inputs, expected = golden(MODEL)
    trusting = ssl.create_default_context(cafile=str(authority.certificate))
    with triton.InferenceServerClient(f"localhost:{pod.ports['http']}", ssl=True,
                                      ssl_context_factory=lambda: trusting) as client:
        check(client.infer("fraud", infer_inputs(inputs, True), headers=bearer(token)), expected)
    with triton_grpc.InferenceServerClient(
        f"localhost:{pod.ports['grpc']}", ssl=True,
        root_certificates=str(authority.certificate)) as client:
        check(client.infer("fraud", inputs_of(inputs), headers=bearer(token)), expected)


def test_the_probes_tell_what_a_server_can_do(
    objects: list[Object], start, authority: Authority, small_repository: pathlib.Path
) -> None:
    """On no GPU, where the CPU answers, the settings for one too."""
    pod = start(objects)
    assert pod.probe("startupProbe") and pod.probe("livenessProbe")
    assert not pod.probe("readinessProbe"), "there is no model"
    pod.release(small_repository)
    wait_for(lambda: pod.probe("readinessProbe"), "a model came")
    infer(pod, authority)
    assert pod.get("/v2/models/fraud") == 401
    assert pod.get("/v2/repository/models/fraud/load", token=TOKENS["checkout"]) in (403, 404, 405)
    assert pod.get("/metrics", "metrics") == 401
    assert pod.get("/metrics", "metrics", TOKENS["checkout"]) == 403
    assert pod.get("/metrics", "metrics", TOKENS["prometheus"]) == 200
    assert pod.schemes == {"http": "https", "admin": "https", "grpc": None, "metrics": "http"}
    assert "environment variable" not in pod.log()


def test_a_server_ends_within_its_time_and_answers_meanwhile(
    start, authority: Authority, small_repository: pathlib.Path
) -> None:
    pod = start(base())
    pod.release(small_repository)
    wait_for(lambda: pod.probe("readinessProbe"), "a model came")
    drain_s = settings_of(base())["drain_ms"] / 1000
    trusting = ssl.create_default_context(cafile=str(authority.certificate))
    kept = http.client.HTTPSConnection("localhost", pod.ports["http"], context=trusting,
                                       timeout=ANSWER_TIMEOUT_S)

    def told_to_close() -> bool:
        kept.request("GET", "/v2/models/fraud", headers=bearer(TOKENS["checkout"]))
        response = kept.getresponse()
        response.read()
        assert response.status == 200
        return response.getheader("Connection") == "close"

    assert not told_to_close()
    began = time.monotonic()
    pod.pre_stop()
    assert pod.probe("readinessProbe") and not told_to_close(), "it has not been told yet"
    infer(pod, authority)
    pod.process.terminate()
    told = time.monotonic()
    wait_for(lambda: not pod.probe("readinessProbe"), "it is not ready", 3)
    assert told_to_close()
    while time.monotonic() < told + drain_s - 2:
        infer(pod, authority)
        assert pod.probe("livenessProbe")
        time.sleep(0.2)
    assert pod.process.wait(pod.grace_s - (time.monotonic() - began)) == 0, pod.log()
    assert time.monotonic() - told >= drain_s


def test_a_renewed_certificate_is_taken_from_the_secret(start, authority: Authority) -> None:
    pod = start(base())
    trusting = ssl.create_default_context(cafile=str(authority.certificate))
    before = serial(pod.ports["http"], trusting)
    pod.project("tls", certificate(authority), 0o440)
    wait_for(lambda: serial(pod.ports["http"], trusting) != before, "the new certificate")
    clients = "tokens:\n" + entry("other", "vdt_other", "infer")
    pod.project("clients", {"clients.yaml": clients.encode()}, 0o440)
    wait_for(lambda: pod.get("/v2/models/none", token="vdt_other") == 404, "the new client")
    assert pod.end() == 0


def test_the_probes_need_no_certificate_unless_one_is_required(
    start, authority: Authority
) -> None:
    ca = {"VERDICT_TLS_CLIENT_CA": str(authority.certificate)}
    assert start(base(), **ca, VERDICT_TLS_CLIENT_AUTH="optional").probe("livenessProbe")
    with pytest.raises((ssl.SSLError, OSError)):
        start(base(), **ca, VERDICT_TLS_CLIENT_AUTH="required").probe("livenessProbe")


def can_confine() -> bool:
    return os.geteuid() == 0 and shutil.which("setpriv") is not None and subprocess.run(
        ["unshare", "--mount", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not can_confine(), reason="needs root, unshare and setpriv")
def test_it_serves_as_an_ordinary_user_on_a_root_that_is_not_written_to(
    authority: Authority, secrets, small_repository: pathlib.Path
) -> None:
    user = pod_of(base())["spec"]["securityContext"]
    confined = ["unshare", "--mount", "sh", "-ec",
                'mount --make-rprivate /; for at in $(findmnt -rno TARGET); do '
                'mount -o bind,remount,ro "$at" 2>/dev/null || :; done; exec "$@"', "sh",
                "setpriv", "--reuid", str(user["runAsUser"]), "--regid", str(user["runAsGroup"]),
                "--groups", str(user["fsGroup"]), "--inh-caps", "-all", "--bounding-set", "-all",
                "--no-new-privs"]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        shutil.copy(BINARY, folder / "verdict")
        for place in (folder, "/tmp", "/dev/shm", "/var/tmp"):
            done = subprocess.run([*confined, "touch", f"{place}/x"], capture_output=True)
            assert b"Read-only file system" in done.stderr, (place, done.stderr)
        (folder / "pod").mkdir()
        pod = Pod(base(), folder / "pod", secrets, launcher=confined, binary=folder / "verdict",
                  VERDICT_REPOSITORY_POLL_INTERVAL_S="1")
        try:
            status = pathlib.Path(f"/proc/{pod.process.pid}/status").read_text()
            assert re.search(r"^Uid:\t10001\t10001", status, re.MULTILINE)
            assert re.search(r"^CapBnd:\t0+$", status, re.MULTILINE)
            pod.release(small_repository)
            wait_for(lambda: pod.probe("readinessProbe"), "a model came")
            infer(pod, authority)
            assert pod.end() == 0, pod.log()
        finally:
            pod.process.kill()
            pod.process.wait()


# Autoscaling


def adapter_rule() -> Object:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "adapter.yaml").read_text())
    assert rules.keys() == {"rules"} and len(rules["rules"]) == 1
    return rules["rules"][0]


def adapter_query(series: str = "", **labels: str) -> str:
    """What prometheus-adapter makes of the rule for some pods."""
    matchers = ",".join(f'{name}=~"{value}"' for name, value in labels.items())
    query = adapter_rule()["metricsQuery"]
    for field, value in (("GroupBy", "pod"), ("LabelMatchers", matchers), ("Series", series)):
        query = query.replace(f"<<.{field}>>", value)
    assert "<<" not in query
    return query


@needs_prometheus
def test_the_autoscaler_asks_for_what_the_adapter_makes(
    objects: list[Object], tmp_path: pathlib.Path
) -> None:
    asked = [metric["pods"] for metric in one(
        objects, "HorizontalPodAutoscaler")["spec"]["metrics"] if metric["type"] == "Pods"]
    rule = adapter_rule()
    assert [metric["metric"]["name"] for metric in asked] == [rule["name"]["as"]]
    assert rule.keys() == {"seriesQuery", "resources", "name", "metricsQuery"}
    overrides = {label: to["resource"] for label, to in rule["resources"]["overrides"].items()}
    assert overrides == {"namespace": "namespace", "pod": "pod"}
    query = adapter_query(namespace="payments", pod="verdict-1|verdict-2")
    known = served_metrics()
    for name in re.findall(r"\b(?:verdict|nv)_\w+", query + rule["seriesQuery"]):
        assert name in known, name
    rules = {"groups": [{"name": "adapter", "rules": [
        {"record": "series", "expr": rule["seriesQuery"]}, {"record": "mean", "expr": query}]}]}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules))
    done = subprocess.run(["promtool", "check", "rules", tmp_path / "rules.yml"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "2 rules found" in done.stdout, done.stdout + done.stderr


@needs_prometheus
def test_a_real_prometheus_computes_the_queue_time(
    small_repository: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    waits_us = 20_000
    (small_repository / "fraud" / "config.yaml").write_text(
        f"max_batch_size: 64\ndynamic_batching: {{max_queue_delay_microseconds: {waits_us}}}\n")
    labels = {"namespace": "payments", "pod": "verdict-1"}
    server = Server(small_repository, tmp_path / "log", "--drain-ms", 0)
    prometheus = Prometheus(tmp_path, server.metrics_url.split("/")[2], labels)
    try:
        query = adapter_query(namespace="payments", pod="verdict-1|verdict-2")

        def value() -> float | None:
            result = prometheus.get("query", query=query).get("result")
            if not result:
                return None
            assert [each["metric"] for each in result] == [{"pod": "verdict-1"}]
            return float(result[0]["value"][1])

        wait_for(lambda: value() is not None, "it is watched")
        assert value() == 0, "an idle server has no queue"
        series = prometheus.get("query", query=adapter_rule()["seriesQuery"])["result"]
        assert series and all(labels.items() <= each["metric"].items() for each in series)
        inputs, expected = golden(MODEL)
        with triton.InferenceServerClient(server.address) as client:
            def asked_again() -> bool:
                check(client.infer("fraud", infer_inputs(inputs, True)), expected)
                return (value() or 0) > 0.5 * waits_us
            wait_for(asked_again, "requests wait")
            told = value()
        of = '{model="fraud",version="1"}'
        mean = (server.metric("nv_inference_queue_duration_us" + of)
                / server.metric("nv_inference_request_success" + of))
        assert 0.7 * mean < told < 1.3 * mean
        target = one(base(), "HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]["target"]
        assert 0 < float(target["averageValue"]) < told, "that many waiting would scale"
        nobody = adapter_query(namespace="payments", pod="verdict-2")
        assert prometheus.get("query", query=nobody)["result"] == []
        assert server.stop() == 0
    finally:
        prometheus.process.terminate()
        prometheus.process.wait(30)
        server.process.kill()
        server.process.wait()


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


# The guide

WITHOUT_A_CLUSTER = """#!/bin/bash
# What the real one makes and would send to a cluster.
set -euo pipefail
case "$1 $2" in
  "create secret") {kubectl} "$@" --dry-run=client -o yaml >>applied.yaml ;;
  "apply -k") {kubectl} kustomize "$3" >>applied.yaml ;;
  "apply -f") cat "$3" >>applied.yaml ;;
  "kustomize "*) exec {kubectl} "$@" ;;
  *) echo "kubectl $*: not without a cluster" >&2; exit 1 ;;
esac
echo --- >>applied.yaml
"""


@needs_kubectl
def test_the_guides_commands_make_servers_that_answer(
    tmp_path: pathlib.Path, start, authority: Authority, small_repository: pathlib.Path
) -> None:
    folder = tmp_path / "reader"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "kubectl").write_text(WITHOUT_A_CLUSTER.format(kubectl=KUBECTL))
    (folder / "bin" / "kubectl").chmod(0o755)
    (folder / "build").symlink_to(BINARY.parent)
    (folder / "deploy").symlink_to(ROOT / "deploy")
    for source, name in zip(authority.issue("server"), ("server.crt", "server.key")):
        shutil.copy(source, folder / name)
    commands = [text for _, text in code_blocks(GUIDE, "sh")]
    assert len(commands) == 3
    for block in commands:
        done = subprocess.run(
            ["bash", "-euc", block], cwd=folder, capture_output=True, text=True, timeout=60,
            env=os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"})
        assert done.returncode == 0 and not done.stderr, done.stderr
    applied = documents((folder / "applied.yaml").read_text())
    operators = ("ServiceMonitor", "PrometheusRule")
    for each in applied:
        if each["kind"] not in operators:
            expect_known(each)
    rules = one(applied, "PrometheusRule")["spec"]
    assert rules == yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())
    made = {each["metadata"]["name"]: {key: base64.b64decode(value)
                                       for key, value in each["data"].items()}
            for each in all_of(applied, "Secret")}
    pod = start(applied, secrets=made)
    pod.release(small_repository)
    wait_for(lambda: pod.probe("readinessProbe"), "a model came")
    infer(pod, authority, (folder / "checkout.txt").read_text().splitlines()[0])
    key = one(applied, "ServiceMonitor")["spec"]["endpoints"][0]["authorization"]["credentials"]
    assert pod.get("/metrics", "metrics", made[key["name"]][key["key"]].decode()) == 200
    assert pod.end() == 0, pod.log()


def test_grpcs_clients_spread_their_calls(
    small_repository: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """As the guide says, here with the addresses that a cluster's DNS would give."""
    [code] = [text for _, text in code_blocks(GUIDE, "python") if "CHANNEL = " in text]
    names: dict = {}
    exec(code[:code.index("channel = ")], names)
    servers = [Server(small_repository, tmp_path / f"log-{i}", "--drain-ms", 0) for i in range(2)]
    try:
        addresses = ",".join(server.grpc_address for server in servers)
        inputs, _ = golden(MODEL)
        options = [*names["CHANNEL"]]
        with triton_grpc.InferenceServerClient(f"ipv4:{addresses}", channel_args=options) as client:
            def answered() -> list[float]:
                return [server.metric('nv_inference_request_success{model="fraud",version="1"}')
                        for server in servers]

            def asked_again() -> bool:
                client.infer("fraud", inputs_of(inputs))
                return min(answered()) > 10
            wait_for(asked_again, "both answer")
            assert max(answered()) < 4 * min(answered())
    finally:
        for server in servers:
            assert server.stop() == 0
