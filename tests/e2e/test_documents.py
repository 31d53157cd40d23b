"""The commands in the documents work: every ```sh block, in order, as a reader would run them."""

import pathlib
import re
import subprocess

import pytest
from serving import BINARY, ROOT, Server

DOCUMENTS = ["README.md", "docs/guides/first-five-minutes.md", "docs/guides/load.md"]
# As the reader's shell, but it stops at the first command that fails, an HTTP error included.
PREAMBLE = 'set -eu; curl() { command curl --silent --show-error --fail-with-body "$@"; }\n'


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_works(document: str, tmp_path: pathlib.Path) -> None:
    text = (ROOT / document).read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert any("verdict build" in block for block in blocks)
    assert any("curl" in block for block in blocks)
    (tmp_path / "build").symlink_to(BINARY.parent)
    for folder in ("tests", "examples", "python", ".venv"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    server = None
    try:
        for block in blocks:
            if block.startswith("build/verdict serve"):
                assert server is None and block.split() == [
                    "build/verdict", "serve", "--repository", "models",
                ]  # fmt: skip
                server = Server(tmp_path / "models", tmp_path / "server.log", "--drain-ms", 0)
                continue
            if server is not None:
                block = block.replace("localhost:8000", server.address)
                block = block.replace("localhost:8002/metrics", server.metrics_url)
            done = subprocess.run(
                ["bash", "-c", PREAMBLE + block], cwd=tmp_path, capture_output=True, text=True,
                timeout=120, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    finally:
        if server is not None:
            server.stop()
    assert server is not None, "the document serves nothing"
