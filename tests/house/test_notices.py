"""Everything that the project installs stands in THIRD_PARTY_NOTICES.md."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def debian_packages() -> list[str]:
    script = (ROOT / "scripts/install-deps.sh").read_text()
    lists = re.findall(r"^\w+_packages=\(\n(.*?)^\)", script, re.MULTILINE | re.DOTALL)
    return " ".join(lists).split()


def python_packages() -> list[str]:
    locks = sorted((ROOT / "python/requirements").glob("*.txt"))
    found = (re.findall(r"^([\w.-]+)==", lock.read_text(), re.MULTILINE) for lock in locks)
    return sorted(set().union(*found))


@pytest.fixture(scope="module")
def notices() -> str:
    return (ROOT / "THIRD_PARTY_NOTICES.md").read_text()


def test_every_debian_package_has_its_licence(notices: str) -> None:
    packages = debian_packages()
    assert "libssl-dev" in packages
    assert [package for package in packages if f"`{package}`" not in notices] == []


def test_every_python_package_has_its_licence(notices: str) -> None:
    packages = python_packages()
    assert "numpy" in packages
    rows = set(re.findall(r"^\| ([\w.-]+) \| \S", notices, re.MULTILINE))
    assert [package for package in packages if package not in rows] == []


def test_every_vendored_folder_is_named(notices: str) -> None:
    for folder in (ROOT / "third_party").iterdir():
        assert f"third_party/{folder.name}/" in notices
        assert (folder / "LICENSE").is_file()
