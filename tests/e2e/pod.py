"""The pod of deploy/kubernetes as a real server, without a cluster."""

from __future__ import annotations

import http.client
import os
import pathlib
import re
import shutil
import ssl
import subprocess
import tempfile
import time

from manifests import Object, container_of, environment_of, one, pod_of
from serving import ANSWER_TIMEOUT_S, BINARY


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
