"""`verdict repository`, and servers that take only what verifies: what was tampered with, is signed
by nobody or only half there is refused, and what served before goes on serving."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from rig import LATEST, Rig
from serving import BINARY, Server, wait_for
from traffic import Traffic


def repository(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in (BINARY, "repository", *arguments)],
                          capture_output=True, text=True, timeout=60, check=False)


def publish(rig: Rig, kind: int, *flags: object) -> str:
    """Publishes an engine as a version of fraud. Returns: what is printed."""
    done = repository("publish", rig.engines / "fraud" / str(kind) / "model.engine",
                      "--repository", rig.root, "--model", "fraud", *flags)
    assert done.returncode == 0, done.stderr
    return done.stdout


def make_key(folder: pathlib.Path, name: str) -> tuple[pathlib.Path, pathlib.Path]:
    """A private key's file and its public key's, made as the guide says."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command")
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    return private, public


def poll(rig: Rig, *settings: str) -> Server:
    flags = [part for setting in ("repository.mode=poll", "repository.poll_interval_s=3600",
                                  *settings) for part in ("--set", setting)]
    return rig.start(*flags)


def flip_last_byte(file: pathlib.Path) -> None:
    """As a new file: what a server has read of the old one stays."""
    contents = bytearray(file.read_bytes())
    contents[-1] ^= 1
    part = file.with_name(file.name + ".part")
    part.write_bytes(contents)
    part.rename(file)


def test_what_is_published_is_served(rig: Rig, tmp_path: pathlib.Path) -> None:
    metadata = tmp_path / "metadata.json"
    metadata.write_text('{"auc": 0.97, "trained": {"rows": 1000}}')
    assert publish(rig, 1, "--metadata", metadata) == "published fraud version 1\n"
    poll(rig, "repository.require_manifest=true")
    wait_for(lambda: rig.state("fraud", 1) == "READY", "version 1")
    publish(rig, 2)
    rig.rescan()
    wait_for(lambda: rig.state("fraud", 2) == "READY", "version 2")
    manifest = json.loads((rig.root / "fraud/1/manifest.json").read_text())
    assert manifest["metadata"] == {"auc": 0.97, "trained": {"rows": 1000}}
    assert [file["path"] for file in manifest["files"]] == ["model.engine"]


@pytest.mark.parametrize("part", ["model.engine", "manifest.json", "manifest.sig"])
def test_what_does_not_verify_is_refused_and_the_old_version_serves(
    rig: Rig, tmp_path: pathlib.Path, part: str
) -> None:
    """200 from version 1 throughout; the index, the log and the metric say what became of 2."""
    private, public = make_key(tmp_path, "key")
    publish(rig, 1, "--sign-key", private)
    (rig.root / "fraud" / "config.yaml").write_text(LATEST)
    server = poll(rig, f"repository.trusted_keys={public}")
    wait_for(lambda: rig.state("fraud", 1) == "READY", "version 1")
    failures = 'verdict_model_loads_total{model="fraud",result="failure"}'
    with Traffic(server, rig.rows({"1": [1], "3": [2]})) as traffic:
        aside = tmp_path / "aside"
        publish(rig, 2, "--sign-key", private)
        (rig.root / "fraud" / "2").rename(aside)
        flip_last_byte(aside / part)
        aside.rename(rig.root / "fraud" / "2")
        rig.rescan()
        wait_for(lambda: rig.state("fraud", 2) == "UNAVAILABLE", "version 2 is refused")
        reason = rig.index()["fraud", "2"]["reason"]
        says = {"model.engine": "is not what its manifest says",
                "manifest.json": "its manifest is not what key", "manifest.sig": "manifest.sig"}
        assert says[part] in reason
        assert "model fraud version 2 is not served" in server.log()
        assert server.metric(failures) >= 1
        assert rig.state("fraud", 1) == "READY"
        traffic.wait_for_more(20)
        assert traffic.versions == {"1"}
        verified = repository("verify", "--repository", rig.root, "--trusted-key", public)
        assert verified.returncode == 1 and "fraud 2  refused: " in verified.stdout
        # The next good one is taken.
        assert publish(rig, 2, "--sign-key", private).startswith("published fraud version 3, ")
        rig.rescan()
        traffic.wait_for_version(3)
    traffic.check({"200", "OK"})


def test_only_trusted_signatures_count(rig: Rig, tmp_path: pathlib.Path) -> None:
    private, public = make_key(tmp_path, "key")
    stranger, _ = make_key(tmp_path, "stranger")
    publish(rig, 1, "--sign-key", private)
    publish(rig, 1, "--sign-key", stranger)
    publish(rig, 1)
    rig.put("fraud", 4, rig.engine(1))  # no manifest
    server = poll(rig, f"repository.trusted_keys={public}")
    wait_for(lambda: rig.state("fraud", 1) == "READY", "version 1")
    assert "a key that is not trusted" in rig.index()["fraud", "2"]["reason"]
    assert "is not signed" in rig.index()["fraud", "3"]["reason"]
    assert rig.state("fraud", 4) == "" and "fraud/4: no manifest.json" in server.log()


def test_a_missing_key_is_said_at_the_start(rig: Rig, tmp_path: pathlib.Path) -> None:
    publish(rig, 1)
    done = subprocess.run(
        [BINARY, "serve", "--repository", rig.root, "--set",
         f"repository.trusted_keys={tmp_path}/none.pub"],
        capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "none.pub" in done.stderr


def test_a_version_is_ignored_until_its_manifest_is_there(rig: Rig) -> None:
    """200 from version 1 while a copy of 2 arrives file by file, the manifest last."""
    publish(rig, 1)
    (rig.root / "fraud" / "config.yaml").write_text(LATEST)
    server = poll(rig, "repository.require_manifest=true")
    wait_for(lambda: rig.state("fraud", 1) == "READY", "version 1")
    with Traffic(server, rig.rows({"1": [1], "2": [2]})) as traffic:
        publish(rig, 2)
        folder, manifest = rig.root / "fraud" / "2", rig.staging
        (folder / "manifest.json").rename(manifest)
        rig.rescan()
        wait_for(lambda: "fraud/2: no manifest.json" in server.log(), "it is ignored aloud")
        assert rig.state("fraud", 2) == ""
        traffic.wait_for_more(20)
        assert traffic.versions == {"1"}
        manifest.rename(folder / "manifest.json")
        rig.rescan()
        traffic.wait_for_version(2)
    traffic.check({"200", "OK"})


def test_writers_at_once_lose_nothing(rig: Rig) -> None:
    with ThreadPoolExecutor(6) as pool:
        printed = set(pool.map(lambda _: publish(rig, 1), range(6)))
    assert printed == {f"published fraud version {number}\n" for number in range(1, 7)}
    assert repository("verify", "--repository", rig.root, "--require-manifest").returncode == 0
    again = repository("publish", rig.engines / "fraud" / "1" / "model.engine", "--repository",
                       rig.root, "--model", "fraud", "--version", 3)
    assert again.returncode == 1 and "is there already" in again.stderr


def test_garbage_collection_keeps_what_serves(rig: Rig) -> None:
    for _ in range(4):
        publish(rig, 1)
    flip_last_byte(rig.root / "fraud" / "4" / "model.engine")
    abandoned = rig.root / "fraud" / ".publish-old"
    abandoned.mkdir()
    before = time.time() - 2 * 86_400
    os.utime(abandoned, (before, before))
    asked = repository("gc", "--repository", rig.root, "--keep", 1, "--dry-run")
    assert asked.returncode == 0 and asked.stdout.count("would remove") == 3
    assert abandoned.is_dir()
    done = repository("gc", "--repository", rig.root, "--keep", 1, "--pin", "fraud/1")
    assert done.returncode == 0, done.stderr
    left = sorted(entry.name for entry in (rig.root / "fraud").iterdir())
    assert left == ["1", "3", "4"], "3 is the newest that verifies"
    assert repository("gc", "--repository", rig.root, "--keep", 0).returncode == 2


def test_the_check_verifies_too(rig: Rig) -> None:
    publish(rig, 1)
    command = [BINARY, "serve", "--check", "--repository", rig.root]
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    manifest = rig.root / "fraud" / "1" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"sha256": "', '"sha256": "0'))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "'sha256' is not 64 hexadecimal digits" in done.stdout
