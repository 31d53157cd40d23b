"""The scripts that install: what they run as root, and that an interrupt leaves nothing running."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
# A child that runs as root can be signalled through sudo alone.
ROOT_CHILD = 'kill() { return 1; }\nsudo() { shift; builtin "$@"; }\n'
NO_SUDO = "kill() { return 1; }\nsudo() { return 1; }\n"
ENDS_AT_ONCE = "echo $$; exec sleep 60"
ENDS_LATER = 'trap "" TERM; echo $$; sleep 1; echo done'  # as apt-get within a dpkg run


@pytest.mark.parametrize(
    ("functions", "command"),
    [
        pytest.param("", ENDS_AT_ONCE, id="own child"),
        pytest.param("", ENDS_LATER, id="own child, later"),
        pytest.param(ROOT_CHILD, ENDS_AT_ONCE, id="root's child"),
        pytest.param(ROOT_CHILD, ENDS_LATER, id="root's child, later"),
        pytest.param(NO_SUDO, ENDS_LATER, id="root's child, no sudo"),
    ],
)
def test_interrupt_ends_the_child_and_waits_for_it(
    tmp_path: Path, functions: str, command: str
) -> None:
    log = tmp_path / "log"
    script = f". {SCRIPTS}/progress.sh\n{functions}watched {log} it bash -c '{command}'"
    running = subprocess.Popen(["bash", "-c", script], stdout=subprocess.PIPE, text=True)
    while not (log.exists() and log.read_text().endswith("\n")):
        time.sleep(0.01)
    running.terminate()  # Ctrl-C goes the same way, but may be ignored here
    output, _ = running.communicate(timeout=20)
    assert running.returncode == 130, output
    child, *rest = log.read_text().splitlines()
    assert not Path("/proc", child).exists()
    assert rest == (["done"] if command == ENDS_LATER else [])
    assert ("cannot be stopped" in output) == (functions == NO_SUDO)


def install_deps(folder: Path, **programs: str) -> tuple[subprocess.CompletedProcess, list[str]]:
    """Runs a copy as another user than root, and lists what it ran through sudo."""
    shutil.copytree(SCRIPTS, folder / "scripts")
    programs = {
        "id": "echo 1000",
        "sudo": f'echo "$*" >>{folder}/calls; [ "$1" = -n ] && shift; exec "$@"',
        "dpkg-query": "exit 1",
        "dpkg": "exit 0",
        "apt-get": "exit 0",
    } | programs
    (folder / "bin").mkdir()
    for name, text in programs.items():
        (folder / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / "bin" / name).chmod(0o755)
    done = subprocess.run(
        ["scripts/install-deps.sh", "build"], cwd=folder, timeout=60, check=False,
        env=os.environ | {"PATH": f"{folder}/bin:{os.environ['PATH']}"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    calls = folder / "calls"
    return done, calls.read_text().splitlines() if calls.exists() else []


def test_install_first_completes_an_interrupted_run(tmp_path: Path) -> None:
    done, calls = install_deps(tmp_path)
    assert done.returncode == 0, done.stdout
    as_root = "-n env DEBIAN_FRONTEND=noninteractive "
    assert calls[:3] == ["-n true", f"{as_root}apt-get update", f"{as_root}dpkg --configure -a"]
    assert calls[3].startswith(f"{as_root}apt-get -o DPkg::Lock::Timeout=300 install ")
    assert len(calls) == 4 and " libssl-dev " in calls[3]


def test_install_goes_on_where_another_run_holds_the_lock(tmp_path: Path) -> None:
    done, calls = install_deps(tmp_path, dpkg="echo locked; exit 2")
    assert done.returncode == 0 and "locked" in done.stdout
    assert " install " in calls[-1]


def test_installed_packages_need_no_root(tmp_path: Path) -> None:
    done, calls = install_deps(tmp_path, **{"dpkg-query": "echo -n installed"})
    assert (done.returncode, done.stdout, calls) == (0, "", [])
