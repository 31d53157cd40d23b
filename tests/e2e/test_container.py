"""deploy/container: the CPU image is built for real, over a Debian that debootstrap has made, and
runs as a container would: its own user, without capabilities, on a root that nobody can write.

Of the GPU images everything is built but what needs NVIDIA's SDK, whose place a Debian takes too:
the plugin is neither compiled nor loaded here.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
import tritonclient.http as triton
from serving import BINARY, ROOT, build, free_ports, golden, wait_for
from test_server import check, infer_inputs

CONTAINERFILE = ROOT / "deploy" / "container" / "Containerfile"
TOOLS = ("buildah", "debootstrap", "unshare", "nsenter", "chroot")
MODEL = "skl_lr_binary"
MAX_ABOVE_BASE_BYTES = 120_000_000
UID = 10001
BUILD_TIMEOUT_S = 1800
# What a container may not bring for who breaks into it.
UNWANTED = {"cc", "c++", "gcc", "g++", "clang", "ld", "as", "make", "cmake", "ninja", "git",
            "python3", "curl", "wget", "gdb"}
# A root as engines make it with --read-only --cap-drop=ALL --security-opt=no-new-privileges.
# $1: the image's root; $2: the models; then the user and the command.
ENTER = """set -eu
mount --make-rprivate /
mount --bind "$1" "$1"
mount --bind "$2" "$1/models"
mount -o remount,bind,ro "$1/models"
mount -t proc proc "$1/proc"
mount -t tmpfs tmpfs "$1/dev"
for device in null zero full random urandom; do
  : > "$1/dev/$device"
  mount --bind "/dev/$device" "$1/dev/$device"
done
mount -o remount,bind,ro "$1"
root=$1 user=$3
shift 3
exec chroot "$root" setpriv --reuid "${user%:*}" --regid "${user#*:}" --clear-groups \
  --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""


def why_not() -> str:
    if os.geteuid() != 0:
        return "building an image without an engine needs root"
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [tool for tool in TOOLS if shutil.which(tool, path=path) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    probe = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True,
                           text=True, check=False)
    return "" if probe.returncode == 0 else f"no namespaces here: {probe.stderr.strip()}"


WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(WHY_NOT != "", reason=WHY_NOT)


def run(*command: object, **more) -> str:
    """What a command that must succeed prints."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                          timeout=BUILD_TIMEOUT_S, check=False, **more)
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def apt_sources() -> list[tuple[str, str, str]]:
    """Of this machine's Debian: address, suite, component."""
    shape = "$(ORIGIN)|$(REPO_URI)|$(CODENAME)|$(COMPONENT)"
    lines = run("apt-get", "indextargets", "--format", shape, "Created-By: Packages").splitlines()
    return sorted({(uri, suite, part) for origin, uri, suite, part in
                   (line.split("|") for line in lines) if origin == "Debian"})


class Buildah:
    """Images in a folder of their own."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        (folder / "tmp").mkdir(parents=True)
        self._environment = os.environ | {"TMPDIR": str(folder / "tmp")}
        self._start = ["buildah", "--root", folder / "storage", "--runroot", folder / "run",
                       "--storage-driver", "vfs"]
        self._containers: list[str] = []

    def __call__(self, *arguments: object) -> str:
        return run(*self._start, *arguments, env=self._environment)

    def attempt(self, file: pathlib.Path, context: pathlib.Path, target: str | None, tag: str,
                *flags: object, **settings: object) -> subprocess.CompletedProcess[str]:
        """settings: build arguments."""
        chosen = [] if target is None else ["--target", target]
        given = [part for name, value in settings.items()
                 for part in ("--build-arg", f"{name}={value}")]
        command = ["nice", *self._start, "build", "--isolation", "chroot", "--pull-never",
                   "--format", "docker", *chosen, *given, *flags, "-t", tag, "-f", file, context]
        return subprocess.run([str(part) for part in command], capture_output=True, text=True,
                              timeout=BUILD_TIMEOUT_S, check=False, env=self._environment)

    def build(self, *arguments, **settings: object) -> None:
        done = self.attempt(*arguments, **settings)
        assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr[-3000:]}"

    def mount(self, image: str) -> pathlib.Path:
        self._containers.append(self("from", "--pull-never", image).strip())
        return pathlib.Path(self("mount", self._containers[-1]).strip())

    def configuration(self, image: str) -> dict:
        return json.loads(self("inspect", "--type", "image", image))["Docker"]["config"]

    def remove(self) -> None:
        if self._containers:
            self("rm", *self._containers)
        shutil.rmtree(self.folder)


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    made = Buildah(tmp_path_factory.mktemp("images") / "buildah")
    yield made
    made.remove()


@pytest.fixture(scope="module")
def base(buildah: Buildah) -> str:
    """A Debian 12 with this machine's sources, in the place of the base image."""
    sources = apt_sources()
    mirror = next((uri for uri, suite, _ in sources if suite == "bookworm"), None)
    if mirror is None:
        pytest.skip("no Debian 12 among apt's sources")
    root = buildah.folder / "debian"
    run("debootstrap", "--variant=minbase", "bookworm", root, mirror)
    (root / "etc/apt/sources.list").write_text(
        "".join(f"deb {uri} {suite} {part}\n" for uri, suite, part in sources))
    proxies = [line for line in run("apt-config", "dump").splitlines()
               if re.match(r"Acquire::https?::", line)]
    (root / "etc/apt/apt.conf.d/99test").write_text("\n".join(proxies) + "\n")
    for leftover in (root / "var/cache/apt/archives").glob("*.deb"):
        leftover.unlink()
    shutil.rmtree(root / "var/lib/apt/lists")
    (buildah.folder / "Base").write_text('FROM scratch\nCOPY . /\nCMD ["bash"]\n')
    buildah.build(buildah.folder / "Base", root, None, "localhost/verdict-base")
    shutil.rmtree(root)
    return "localhost/verdict-base"


@pytest.fixture(scope="module")
def image(buildah: Buildah, base: str) -> str:
    """The CPU image. What this machine's ccache has compiled is not compiled again."""
    cache = pathlib.Path(run("ccache", "--get-config", "cache_dir").strip())
    cache.mkdir(parents=True, exist_ok=True)
    buildah.build(CONTAINERFILE, ROOT, "cpu", "localhost/verdict:cpu", "--volume",
                  f"{cache}:/ccache", BASE=base, CCACHE_DIR="/ccache", REVISION="tested",
                  LANG=os.environ.get("LANG", ""), BUILD_JOBS=len(os.sched_getaffinity(0)))
    return "localhost/verdict:cpu"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    root = tmp_path_factory.mktemp("models")
    build(MODEL, root / "fraud" / "1" / "model.engine")
    for path in (root, *root.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return root


def size(root: pathlib.Path) -> int:
    """Bytes of the files, each counted once."""
    found = {}
    for folder, _, files in os.walk(root):
        for name in files:
            status = os.lstat(os.path.join(folder, name))
            found[status.st_ino] = status.st_size
    return sum(found.values())


class Container:
    """The image's own command on a read-only root, as process 1 of its own; only ports differ."""

    def __init__(self, buildah: Buildah, image: str, models: pathlib.Path,
                 folder: pathlib.Path) -> None:
        self.configuration = buildah.configuration(image)
        self.root = buildah.mount(image)
        self.port, grpc, metrics, admin = free_ports(4)
        self.environment = dict(entry.split("=", 1) for entry in self.configuration["Env"])
        self.environment |= {"VERDICT_HTTP_PORT": str(self.port), "VERDICT_GRPC_PORT": str(grpc),
                             "VERDICT_METRICS_PORT": str(metrics),
                             "VERDICT_ADMIN_PORT": str(admin)}
        self._log = folder / "container.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "bash",
                 "-c", ENTER, "enter", self.root, models, self.configuration["User"],
                 *self.configuration["Entrypoint"], *self.configuration["Cmd"]],
                stdout=log, stderr=subprocess.STDOUT, env=self.environment)
        try:
            wait_for(lambda: self.get("ready") == 200, "the container serves")
        except AssertionError as late:
            self.process.kill()
            raise AssertionError(f"{late}\n{self.log()}") from late
        children = run("pgrep", "-P", self.process.pid).split()
        assert len(children) == 1
        self.pid = int(children[0])

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def get(self, what: str) -> int:
        """Status of /v2/health/…; 0 if nobody listens."""
        assert self.process.poll() is None, self.log()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v2/health/{what}",
                                        timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def inside(self, *command: object,
               user: int = UID) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--root", "--wd=/",
             "--setuid", str(user), "--setgid", str(user), *map(str, command)],
            capture_output=True, text=True, timeout=60, check=False, env=self.environment)

    def check_health(self) -> subprocess.CompletedProcess[str]:
        """The image's health check."""
        kind, *command = self.configuration["Healthcheck"]["Test"]
        assert kind == "CMD"
        return self.inside(*command)

    def infer(self) -> None:
        inputs, expected = golden(MODEL)
        with triton.InferenceServerClient(f"127.0.0.1:{self.port}") as client:
            check(client.infer("fraud", infer_inputs(inputs, True)), expected)

    def stop(self) -> int:
        os.kill(self.pid, signal.SIGTERM)
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()


@pytest.fixture
def container(buildah: Buildah, image: str, models: pathlib.Path,
              tmp_path: pathlib.Path) -> Iterator[Container]:
    made = Container(buildah, image, models, tmp_path)
    yield made
    if made.process.poll() is None:
        assert made.stop() == 0, made.log()


def test_the_image_is_small(buildah: Buildah, base: str, image: str,
                            record_property) -> None:
    above = size(buildah.mount(image)) - size(buildah.mount(base))
    record_property("bytes_above_base", above)
    print(f"{above / 1e6:.1f} MB above the base")
    assert 10_000_000 < above < MAX_ABOVE_BASE_BYTES


def test_what_is_in_it(buildah: Buildah, image: str) -> None:
    """The program, and nothing to compile, fetch or become somebody else with."""
    root = buildah.mount(image)
    programs, privileged = set(), []
    for folder, _, files in os.walk(root):
        for name in files:
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
                privileged.append(path)
            if os.path.basename(folder) in ("bin", "sbin"):
                programs.add(name)
    assert privileged == []
    assert {"verdict", "bash"} <= programs
    assert programs & UNWANTED == set()
    assert [name for name in programs if re.match(r".*-(gcc|g\+\+|cpp|ld|as)(-\d+)?$", name)] == []
    assert not (root / "source").exists() and not (root / "out").exists()
    assert list((root / "var/lib/apt/lists").glob("*Packages*")) == []
    sections = run("objdump", "-h", root / "usr/local/bin/verdict")
    assert ".text" in sections and ".symtab" not in sections and ".debug_info" not in sections
    for name in ("LICENSE", "THIRD_PARTY_NOTICES.md"):
        assert (root / "usr/share/doc/verdict" / name).is_file()


def test_how_it_is_started(buildah: Buildah, image: str) -> None:
    configuration = buildah.configuration(image)
    assert configuration["User"] == f"{UID}:{UID}"
    assert sorted(configuration["ExposedPorts"]) == ["8000/tcp", "8001/tcp", "8002/tcp"]
    labels = configuration["Labels"]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.revision"] == "tested"


def test_it_serves_on_a_read_only_root(container: Container) -> None:
    container.infer()
    done = container.check_health()
    assert (done.returncode, done.stdout) == (0, "live\n"), done.stderr
    status = pathlib.Path(f"/proc/{container.pid}/status").read_text()
    for key, value in (("Uid", rf"{UID}\s+{UID}\s+{UID}\s+{UID}"), ("CapEff", "0+"),
                       ("CapBnd", "0+"), ("NoNewPrivs", "1"), ("NSpid", rf"{container.pid}\s+1")):
        assert re.search(rf"^{key}:\s*{value}$", status, re.MULTILINE), status
    for path in ("/x", "/tmp/x", "/models/x", "/var/x"):  # not even root
        assert "Read-only" in container.inside("touch", path, user=0).stderr
    assert "error" not in container.log() and "warning" not in container.log(), container.log()


def test_the_health_check_fails_for_a_server_that_hangs(container: Container) -> None:
    os.kill(container.pid, signal.SIGSTOP)
    try:
        done = container.check_health()
    finally:
        os.kill(container.pid, signal.SIGCONT)
    assert done.returncode == 1 and "timed out" in done.stderr
    assert container.check_health().returncode == 0


def test_sigterm_drains(container: Container) -> None:
    """As process 1: unready at once, answers for a while, then ends with 0."""
    os.kill(container.pid, signal.SIGTERM)
    started = time.monotonic()
    wait_for(lambda: container.get("ready") == 503, "the server is not ready any more", 5)
    container.infer()
    assert container.process.wait(30) == 0, container.log()
    assert time.monotonic() - started > 0.8  # drain_ms
    assert "stopped" in container.log()


# The GPU images.


def stage(name: str) -> str:
    """The Containerfile's first arguments and this one stage."""
    text = CONTAINERFILE.read_text()
    arguments = "".join(re.findall(r"^ARG .*\n", text.split("\nFROM ", 1)[0], re.MULTILINE))
    found = re.findall(rf"^FROM \S+ AS {name}\n.*?(?=^FROM |\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(found) == 1, name
    return arguments + found[0]


def write(folder: pathlib.Path, files: dict[str, str]) -> pathlib.Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("missing", ["", "NvInfer.h", "cuda.h"])
def test_headers_are_taken_from_nvidias_image(buildah: Buildah, base: str, missing: str,
                                              tmp_path: pathlib.Path) -> None:
    """Stand-ins where NVIDIA's image has them; without one the build says what to give."""
    files = {"sdk/NvInfer.h": "infer", "sdk/NvInferRuntime.h": "runtime", "cuda/cuda.h": "cuda",
             "cuda/crt/x.h": "x"}
    context = write(tmp_path / "context",
                    {path: text for path, text in files.items()
                     if missing == "" or not path.endswith("/" + missing)} | {
                         "File": f"FROM {base}\nCOPY sdk /usr/include/x86_64-linux-gnu\n"
                                 "COPY cuda /usr/local/cuda/include\n"})
    nvidia = f"localhost/nvidia-without-{missing.lower() or 'nothing'}"
    buildah.build(context / "File", context, None, nvidia)
    (tmp_path / "Stage").write_text(stage("sdk"))
    done = buildah.attempt(tmp_path / "Stage", context, None, "localhost/sdk",
                           TENSORRT_IMAGE=nvidia)
    if missing:
        assert done.returncode != 0
        assert f"{missing}" in done.stderr + done.stdout
        assert "give TENSORRT_HEADERS" in done.stderr or "give CUDA_HEADERS" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    root = buildah.mount("localhost/sdk")
    got = {str(path.relative_to(root / "sdk")): path.read_text()
           for path in (root / "sdk").rglob("*.h")}
    assert got == {"include/NvInfer.h": "infer", "include/NvInferRuntime.h": "runtime",
                   "cuda/cuda.h": "cuda", "cuda/crt/x.h": "x"}


@pytest.mark.parametrize("name", ["cuda", "tensorrt"])
def test_a_gpu_image_without_a_gpu_answers_with_the_cpu(
    buildah: Buildah, base: str, models: pathlib.Path, name: str, tmp_path: pathlib.Path
) -> None:
    """Its last stage over a Debian, with this build's programs in place of those of `build-gpu`."""
    packed = tmp_path / "context" / "verdict-gpu"
    packed.parent.mkdir()
    run(ROOT / "scripts" / "pack_programs.sh", BINARY.parent, packed)
    settings = (CONTAINERFILE.parent / "server.yaml").read_text()
    added = re.findall(r"echo '(device: .*)' >> /out/server-gpu.yaml", CONTAINERFILE.read_text())
    write(packed.parent, {"server-gpu.yaml": settings + added[0] + "\n",
                          "File": "FROM scratch\nCOPY . /out\n"})
    buildah.build(packed.parent / "File", packed.parent, None, "localhost/build-gpu")
    (tmp_path / "Stage").write_text(
        stage(name).replace("--from=build-gpu", "--from=localhost/build-gpu"))
    tag = f"localhost/verdict:{name}"
    buildah.build(tmp_path / "Stage", ROOT, None, tag, CUDA_IMAGE=base, TENSORRT_IMAGE=base)
    running = Container(buildah, tag, models, tmp_path)
    try:
        assert running.configuration["User"] == f"{UID}:{UID}"
        assert running.environment["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"
        running.infer()
        assert running.check_health().returncode == 0
        assert "libverdict_tensorrt.so" in running.log()  # asked for, and said to be missing
        assert (running.root / "opt/verdict/verdict-device-worker").is_file()
    finally:
        status = running.stop()
    assert status == 0, running.log()
