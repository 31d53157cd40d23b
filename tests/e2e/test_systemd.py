"""deploy/systemd: what systemd says of the units, and real servers that are started, reloaded and
ended as they say, within their hardening."""

from __future__ import annotations

import http.client
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton
import yaml
from code_blocks import code_blocks
from confined import allowed, settings
from serving import BINARY, ROOT, free_ports, golden, wait_for
from test_gateway import NGINX, install
from test_grpc import inputs_of
from test_operations import Manager
from test_security import Authority, authority  # noqa: F401  a fixture too
from test_server import check, infer_inputs

DEPLOY = ROOT / "deploy" / "systemd"
UNITS = sorted(DEPLOY.glob("*.service"))
GUIDE = (ROOT / "docs" / "guides" / "deployment.md").read_text().split("\n## systemd\n")[1]
MODEL = "skl_lr_binary"
USER = 10002
EXPOSURE = 15  # in tenths, as systemd counts it; a unit without hardening has 96

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None,
                                   reason="systemd-analyze is not installed")
can_confine = shutil.which("systemd-analyze") is not None and os.geteuid() == 0 and subprocess.run(
    ["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True).returncode == 0
needs_confinement = pytest.mark.skipif(
    not can_confine, reason="needs root, unshare and systemd-analyze")


def with_programs(unit: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """A copy that names programs which are on this machine."""
    text = unit.read_text().replace("/usr/bin/verdict", str(BINARY))
    if NGINX is None:
        text = text.replace("/usr/sbin/nginx", "/bin/true")
    (folder / unit.name).write_text(text)
    return folder / unit.name


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_takes_the_unit_and_its_hardening(
    unit: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    copy = with_programs(unit, tmp_path)
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", copy], capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0 and unit.name not in done.stderr, done.stderr
    copy.write_text(copy.read_text().replace("[Service]", "[Service]\nProtectTheSystem=yes"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", copy], capture_output=True,
                          text=True, timeout=60)
    assert "ProtectTheSystem" in done.stderr, "what it does not know it would say"
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE}",
         unit], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_is_time_to_end() -> None:
    text = (ROOT / "docs" / "reference" / "configuration.md").read_text()
    by_force = int(re.search(r"ended by force, .*?: (\d+) s after the end of `drain_ms`", text)[1])
    done = subprocess.run([BINARY, "serve", "--print-config"], capture_output=True, text=True,
                          check=True, timeout=60)
    drain_s = yaml.safe_load(done.stdout)["drain_ms"] / 1000
    [limit] = settings(DEPLOY / "verdict.service")["TimeoutStopSec"]
    assert drain_s + by_force + 2 <= int(limit)
    conf = (ROOT / "deploy" / "nginx" / "nginx.conf").read_text()
    [shutdown_s] = re.findall(r"worker_shutdown_timeout (\d+)s", conf)
    [limit] = settings(DEPLOY / "verdict-gateway.service")["TimeoutStopSec"]
    assert int(shutdown_s) + 2 <= int(limit)


def confined(unit: pathlib.Path, writable: pathlib.Path | None = None) -> list[str]:
    """What runs a command with the unit's root, /proc, /tmp, user and filters."""
    wanted = settings(unit)
    assert wanted["ProtectSystem"] == ["strict"] and wanted["PrivateTmp"] == ["yes"]
    proc = {"hidepid": wanted["ProtectProc"][0], "subset": wanted.get("ProcSubset", ["all"])[0]}
    options = ",".join(f"{key}={value}" for key, value in proc.items() if value != "all")
    script = ('mount --make-rprivate /; mount -t proc -o ' + options + ' proc /proc; '
              'mount -o bind,remount,ro /; ')
    if writable is not None:
        script = f'mount --bind {writable} {writable}; ' + script
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec",
            script + 'exec "$@"', "sh", sys.executable,
            str(pathlib.Path(__file__).with_name("confined.py")), str(unit), str(USER)]


@pytest.fixture
def folder() -> Iterator[pathlib.Path]:
    """One that another user reaches; pytest's own are root's alone."""
    with tempfile.TemporaryDirectory() as name:
        pathlib.Path(name).chmod(0o755)
        yield pathlib.Path(name)


def command_of(unit: pathlib.Path, key: str, paths: dict[str, object]) -> list[str]:
    [line] = settings(unit)[key]
    return shlex.split(re.sub("|".join(map(re.escape, paths)),
                              lambda found: str(paths[found[0]]), line))


def child_of(process: subprocess.Popen) -> int:
    """The process that was confined: unshare waits for it."""
    wait_for(lambda: pathlib.Path(
        f"/proc/{process.pid}/task/{process.pid}/children").read_text().split(), "its child")
    [child] = pathlib.Path(
        f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(child)


@needs_confinement
def test_the_server_does_all_within_its_hardening(
    folder: pathlib.Path, small_repository: pathlib.Path
) -> None:
    unit = DEPLOY / "verdict.service"
    shutil.copy(BINARY, folder / "verdict")
    shutil.copytree(small_repository, folder / "models")
    grpc_port, = free_ports(1)
    (folder / "server.yaml").write_text(
        f"repository: {{path: {folder / 'models'}, mode: poll}}\n"
        "http: {host: 127.0.0.1, port: 0}\nadmin: {port: 0}\nmetrics: {port: 0}\n"
        f"grpc: {{port: {grpc_port}}}\ndrain_ms: 0\n")
    manager = Manager(folder / "notify")
    (folder / "notify").chmod(0o777)
    command = command_of(unit, "ExecStart", {"/usr/bin/verdict": folder / "verdict",
                                             "/etc/verdict": folder})
    log = folder / "log"
    environment = os.environ | {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "400000"}
    with log.open("wb") as stderr:
        process = subprocess.Popen([*confined(unit), *command], stdout=subprocess.PIPE,
                                   stderr=stderr, text=True, env=environment)
    try:
        assert settings(unit)["Type"] == ["notify"]
        wait_for(lambda: manager.waiting() or process.poll() is not None, "it is ready")
        assert process.poll() is None, (process.returncode, log.read_text())
        assert manager.received() == ["READY=1", "STATUS=serving"], log.read_text()
        pid = child_of(process)
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        assert re.search(rf"^Uid:\t{USER}\t{USER}", status, re.MULTILINE), status
        assert re.search(r"^Seccomp:\t2$", status, re.MULTILINE), status
        assert "planned again" not in log.read_text(), "its plan is for this machine"
        port = process.stdout.readline().rsplit(":", 1)[1].split()[0]
        inputs, expected = golden(MODEL)
        with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
            check(client.infer("fraud", infer_inputs(inputs, True)), expected)
        with triton_grpc.InferenceServerClient(f"127.0.0.1:{grpc_port}") as client:
            check(client.infer("fraud", inputs_of(inputs)), expected)
        assert manager.received() == ["WATCHDOG=1"]
        shutil.copytree(folder / "models/fraud/1", folder / "models/fraud/2")
        subprocess.run(command_of(unit, "ExecReload", {"$MAINPID": pid}), check=True, timeout=30)
        wait_for(lambda: "info reloaded" in log.read_text(), "the configuration is read again")
        wait_for(lambda: "version 2 is ready" in log.read_text(), "and a version is loaded")
        os.kill(pid, signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()
        assert "priority" not in log.read_text()
    finally:
        process.kill()
        process.wait()
        manager.close()


@needs_confinement
def test_what_the_hardening_forbids_is_seen(folder: pathlib.Path) -> None:
    """Else the test above would show nothing."""
    unit = DEPLOY / "verdict.service"
    for forbidden in ("import os; os.chroot('/')",
                      "import socket; socket.socket(socket.AF_NETLINK)"):
        done = subprocess.run([*confined(unit), "/usr/bin/python3", "-c", forbidden],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == -signal.SIGSYS, (forbidden, done.stderr)
    written = subprocess.run([*confined(unit), "/usr/bin/touch", "/tmp/x"], capture_output=True,
                             text=True, timeout=60)
    assert "Read-only file system" in written.stderr, written
    calls = allowed(settings(unit)["SystemCallFilter"])
    assert {"epoll_wait", "setpriority"} <= calls and not {"mount", "ptrace", "bpf"} & calls


@needs_confinement
@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
def test_the_gateway_does_all_within_its_hardening(
    folder: pathlib.Path, authority: Authority  # noqa: F811
) -> None:
    unit = DEPLOY / "verdict-gateway.service"
    etc, var = folder / "etc", folder / "var"
    shutil.copytree(ROOT / "deploy" / "nginx", etc)
    (etc / "tls").mkdir()
    install(authority, etc / "tls")
    conf = (etc / "nginx.conf").read_text()
    ports = free_ports(3)
    for shipped, own in zip((8000, 8001, 8080), ports):
        conf = conf.replace(f"listen {shipped}", f"listen 127.0.0.1:{own}")
    (etc / "nginx.conf").write_text(conf)
    var.mkdir()
    for path in (*etc.rglob("*"), etc, var):
        os.chown(path, USER, USER)
    paths = {"/usr/sbin/nginx": NGINX, "/var/lib/verdict-gateway": var,
             "/etc/verdict-gateway": etc}
    launcher = confined(unit, var)
    done = subprocess.run([*launcher, *command_of(unit, "ExecStartPre", paths)],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stderr, done.stderr
    log = folder / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen([*launcher, *command_of(unit, "ExecStart", paths)],
                                   stderr=stderr)

    def get(target: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", ports[2], timeout=5)
        try:
            connection.request("GET", target)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    try:
        wait_for(lambda: get("/live") == 200, "it is live: " + log.read_text())
        assert get("/ready") in (502, 504), "it asks the servers, of which there is none"
        pid = child_of(process)
        workers = set(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        assert workers
        subprocess.run(command_of(unit, "ExecReload", {"$MAINPID": pid}), check=True, timeout=30)
        wait_for(lambda: not workers & set(pathlib.Path(
            f"/proc/{pid}/task/{pid}/children").read_text().split()), "workers of the new files")
        assert get("/live") == 200
        [name] = settings(unit)["KillSignal"]
        os.kill(pid, getattr(signal, name))
        assert process.wait(30) == 0, log.read_text()
        assert {path.name for path in etc.iterdir()} == {"nginx.conf", "upstreams.conf", "tls"}
    finally:
        process.kill()
        process.wait()


def test_the_guides_commands_put_everything_where_the_units_look(
    tmp_path: pathlib.Path, authority: Authority  # noqa: F811
) -> None:
    """In a folder instead of the machine's root, as nobody's owner, and without systemd itself."""
    [block] = [text for _, text in code_blocks(GUIDE, "sh")]
    for name in ("deploy", "build"):
        (tmp_path / name).symlink_to(ROOT / name if name == "deploy" else BINARY.parent)
    (tmp_path / "models").mkdir()
    (tmp_path / "server.yaml").write_text("repository: {path: /var/lib/verdict/models}\n")
    root = tmp_path / "root"
    (tmp_path / "bin").mkdir()
    said = tmp_path / "said"
    for name in ("useradd", "systemctl"):
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\necho "{name} $*" >>{said}\n')
    (tmp_path / "bin" / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
    (tmp_path / "bin" / "install").write_text(
        "#!/bin/bash\narguments=()\nwhile (($#)); do case $1 in -o | -g) shift ;; "
        f'/*) arguments+=("{root}$1") ;; *) arguments+=("$1") ;; esac; shift; done\n'
        '/usr/bin/install "${arguments[@]}"\n')
    for program in (tmp_path / "bin").iterdir():
        program.chmod(0o755)
    for place in ("usr/bin", "etc/systemd/system", "var/lib"):
        (root / place).mkdir(parents=True)
    done = subprocess.run(["bash", "-euc", block], cwd=tmp_path, capture_output=True, text=True,
                          timeout=60,
                          env=os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"})
    assert done.returncode == 0 and not done.stderr, done.stderr
    unit = DEPLOY / "verdict.service"
    program, *flags = command_of(unit, "ExecStart", {"/usr/bin": root / "usr/bin",
                                                     "/etc/verdict": root / "etc/verdict"})
    assert flags[:2] == ["serve", "--config"]
    assert os.access(program, os.X_OK) and pathlib.Path(flags[2]).is_file()
    assert (root / "etc/systemd/system/verdict.service").read_text() == unit.read_text()
    [user] = settings(unit)["User"]
    lines = said.read_text().splitlines()
    assert lines[0].startswith("useradd --system ") and lines[0].endswith(f" {user}")
    assert lines[1:] == ["systemctl daemon-reload", "systemctl enable --now verdict"]
