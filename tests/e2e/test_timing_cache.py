"""`verdict build --timingCacheFile`: figures are kept, believed, and can be insisted on."""

from __future__ import annotations

import pathlib
import subprocess

from serving import BINARY, GOLDEN

MODEL = GOLDEN / "skl_mlp_binary.onnx"


def _build(folder: pathlib.Path, *flags: object) -> subprocess.CompletedProcess[str]:
    command = [BINARY, "build", "--onnx", MODEL, "--saveEngine", folder / "m.engine", *flags]
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=60)


def test_a_second_build_measures_nothing(tmp_path: pathlib.Path) -> None:
    cache = tmp_path / "timing.cache"
    flags = ["--timingCacheFile", cache, "--verbose"]
    first = _build(tmp_path, *flags)
    assert first.returncode == 0, first.stderr
    assert "measured cpu/fused_gemm" in first.stdout
    kept = cache.read_text()
    assert kept.startswith("verdict timing cache 1\n") and " reference FusedGemm " in kept
    engine = (tmp_path / "m.engine").read_bytes()
    second = _build(tmp_path, *flags, "--errorOnTimingCacheMiss")
    assert second.returncode == 0, second.stderr
    assert cache.read_text() == kept
    assert (tmp_path / "m.engine").read_bytes() == engine


def test_the_cache_decides(tmp_path: pathlib.Path) -> None:
    cache = tmp_path / "timing.cache"
    assert _build(tmp_path, "--timingCacheFile", cache).returncode == 0
    # By these figures the reference kernel is the faster one everywhere.
    lines = cache.read_text().splitlines()
    figures = ("0.001" if " reference " in line else "1000" for line in lines[1:])
    lies = [f"{us} {line.split(' ', 1)[1]}" for us, line in zip(figures, lines[1:])]
    cache.write_text("\n".join([lines[0], *lies]) + "\n")
    done = _build(tmp_path, "--timingCacheFile", cache, "--verbose")
    assert "(FusedGemm): reference" in done.stdout
    assert "(FusedGemm): cpu/fused_gemm" not in done.stdout


def test_a_miss_is_an_error_where_asked_for(tmp_path: pathlib.Path) -> None:
    done = _build(tmp_path, "--timingCacheFile", tmp_path / "none", "--errorOnTimingCacheMiss")
    assert done.returncode == 1
    assert "the timing cache has no entry" in done.stderr
    assert not (tmp_path / "m.engine").exists()


def test_a_broken_cache_is_named(tmp_path: pathlib.Path) -> None:
    cache = tmp_path / "timing.cache"
    cache.write_text("verdict timing cache 1\nnonsense\n")
    done = _build(tmp_path, "--timingCacheFile", cache)
    assert done.returncode == 1
    assert f"error: {cache}: line 2" in done.stderr
    assert not (tmp_path / "m.engine").exists()


def test_a_cache_that_cannot_be_kept_costs_no_build(tmp_path: pathlib.Path) -> None:
    done = _build(tmp_path, "--timingCacheFile", tmp_path / "absent" / "c", "--verbose")
    assert done.returncode == 1
    assert f"error: --timingCacheFile {tmp_path}/absent/c: there is no folder" in done.stderr
    assert "measured" not in done.stdout
    done = _build(tmp_path, "--timingCacheFile", tmp_path / "m.engine")
    assert "would overwrite the timing cache" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_cache_is_written_through_a_symlink(tmp_path: pathlib.Path) -> None:
    (tmp_path / "link").symlink_to("timing.cache")
    assert _build(tmp_path, "--timingCacheFile", tmp_path / "link").returncode == 0
    assert (tmp_path / "link").is_symlink() and (tmp_path / "timing.cache").is_file()
