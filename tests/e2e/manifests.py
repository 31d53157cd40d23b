"""The objects of deploy/kubernetes, as kustomize puts them together."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import kubernetes_validate
import pytest
import yaml
from serving import BINARY, ROOT

DEPLOY = ROOT / "deploy" / "kubernetes"
GUIDE = (ROOT / "docs" / "guides" / "deployment.md").read_text()
GUIDE = GUIDE.split("\n## Kubernetes\n")[1].split("\n## ")[0]
OLDEST = re.search(r"Kubernetes (1\.\d+) or later", GUIDE)[1]
NEWEST = kubernetes_validate.latest_version()
KUBECTL = shutil.which("kubectl")

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


def expect_known(each: Object) -> None:
    for version in (OLDEST, NEWEST):
        kubernetes_validate.validate(each, version, strict=True)
