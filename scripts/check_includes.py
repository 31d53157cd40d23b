#!/usr/bin/env python3
"""Checks the rules of the tree that the compiler does not: who may include whom, and names.

Usage: scripts/check_includes.py [ROOT]

Errors (exit 1): an include against the arrows of docs/architecture.md; a message file's generated
header outside the folder that owns it (and its clients); an include that is not rooted at src/; a
header without `#pragma once`; registration by static initialiser (it vanishes from static
libraries); a file or folder called utils, helpers, common or the like. Prints, without failing,
files over 600 lines.
Tests and fuzz targets may include anything.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

# folder -> folders it may include; each also what those may include.
ARROWS: dict[str, set[str]] = {
    "base": set(),
    "ir": {"base"},
    "ops": {"ir"},
    "onnx": {"ops"},
    "passes": {"ops"},
    "plan": {"ops"},
    "quant": {"passes"},
    "engine": {"plan"},
    "backends": {"plan"},
    "tune": {"backends"},
    "compile": {"onnx", "passes", "quant", "tune", "engine"},
    "runtime": {"engine", "backends"},
    "observe": {"base"},
    "release": {"engine", "observe"},
    "serve": {"runtime", "release", "observe"},
    "tools": {"compile", "serve"},
}
# Within a folder: files below the first path know nothing of the second.
INNER_WALLS = [("serve/endpoints/", "serve/http/"), ("serve/endpoints/", "serve/grpc/")]

# Folders that may include generated headers of message files that are not their own.
PROTOCOL_CLIENTS = {"tools"}

SOURCE_SUFFIXES = {".h", ".cc", ".inc"}
TEXT_SUFFIXES = SOURCE_SUFFIXES | {".py", ".sh", ".cmake"}
FORBIDDEN_WORDS = {"util", "utils", "helper", "helpers", "common", "misc"}
SKIPPED_FOLDERS = {"third_party", "__pycache__"}
LONG_FILE_LINES = 600

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')
SELF_REGISTRATION = re.compile(
    r"__attribute__\s*\(\(\s*constructor|\[\[gnu::constructor"
    r"|^(?:\[\[maybe_unused\]\]\s*)?(?:static\s+|const\s+|inline\s+)*[\w:<>]+\s+\w+"
    r"\s*=\s*(?:\w+::)*(?:Register\w*\(|\[\]\s*(?:\(\s*\))?\s*\{)"
)


def reachable(folder: str) -> set[str]:
    """The folders that `folder` may include, itself among them."""
    seen, todo = set(), [folder]
    while todo:
        current = todo.pop()
        if current not in seen:
            seen.add(current)
            todo.extend(ARROWS[current])
    return seen


def is_test(path: str) -> bool:
    return bool(re.search(r"_(test|fuzz|benchmark)\.(h|cc)$", path))


def files(root: Path) -> Iterator[str]:
    """Paths below root, `/`-separated, without hidden, built and vendored ones."""
    for entry in sorted(root.iterdir()):
        name = entry.name
        if name.startswith(".") or name in SKIPPED_FOLDERS or entry.is_symlink():
            continue
        if entry.is_dir():
            if not (name == "build" or name.startswith("build-")):
                yield from (f"{name}/{below}" for below in files(entry))
        else:
            yield name


def owner_of(include: str, src: Path, protos: dict[str, str]) -> str | None:
    """The folder of src/ that `include` belongs to; None if there is no such header."""
    if (src / include).is_file() and "/" in include and ".." not in include:
        return include.split("/")[0]
    return protos.get(Path(include).name.removesuffix(".pb.h") + ".proto")


def check_source(root: Path, path: str, protos: dict[str, str]) -> Iterator[str]:
    """Errors of one C++ file of src/."""
    inner = path.removeprefix("src/")
    folder = inner.split("/")[0]
    if folder not in ARROWS:
        yield f"{path}: src/{folder} has no arrows: add it to ARROWS and docs/architecture.md"
        return
    allowed = reachable(folder)
    lines = (root / path).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        here = f"{path}:{number}"
        if SELF_REGISTRATION.search(line):
            yield f"{here}: registration by static initialiser: use an explicit list"
        match = INCLUDE.match(line)
        if match is None:
            continue
        include = match.group(1)
        owner = owner_of(include, root / "src", protos)
        if owner is None:
            yield f'{here}: "{include}" is not a header of src/, written from there'
        elif is_test(path):
            continue
        elif owner not in allowed:
            yield f"{here}: {folder} may not include {owner} ({include})"
        elif include.endswith(".pb.h") and owner != folder and folder not in PROTOCOL_CLIENTS:
            yield f"{here}: only src/{owner} may include {include}"
        elif is_test(include):
            yield f"{here}: only tests may include {include}"
        for below, wall in INNER_WALLS:
            if inner.startswith(below) and include.startswith(wall):
                yield f"{here}: {below} may not include {wall} ({include})"
    if path.endswith(".h") and "#pragma once" not in lines:
        yield f"{path}: no #pragma once"


def check(root: Path) -> tuple[list[str], list[str]]:
    """Returns errors and warnings."""
    errors: list[str] = []
    warnings: list[str] = []
    protos = {
        proto.name: proto.relative_to(base).parts[0]
        for base in (root / "src", root / "third_party")
        for proto in sorted(base.rglob("*.proto"))
    }
    for path in files(root):
        suffix = Path(path).suffix
        for name in path.split("/"):
            words = re.split(r"[_-]", name.split(".")[0])
            for word in FORBIDDEN_WORDS & {words[0], words[-1]}:
                errors.append(f"{path}: name it for its concept, not {word!r}")
        if suffix in TEXT_SUFFIXES:
            num_lines = (root / path).read_bytes().count(b"\n")
            if num_lines > LONG_FILE_LINES:
                warnings.append(f"{path}: {num_lines} lines: asks to be two files")
        if path.startswith("src/") and suffix in SOURCE_SUFFIXES:
            errors.extend(check_source(root, path, protos))
    return errors, warnings


def main() -> int:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    if not (root / "src").is_dir():
        print(f"{root}: no src/ folder here", file=sys.stderr)
        return 2
    errors, warnings = check(root)
    for warning in warnings:
        print(f"warning: {warning}")
    for error in errors:
        print(f"error: {error}")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
