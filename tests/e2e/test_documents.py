"""The commands in the documents work: every ```sh block, in order, as a reader would run them.

In a block that names an error status, as in `# 504`, curl's answer must have it; in all others every
command succeeds. A ```text block of a document in CHECKED is what the block before it prints (for a
server: what it prints and logs): each line stands there, numbers aside, with anything for "…".
"""

import pathlib
import re
import shlex
import subprocess

import pytest
from code_blocks import code_blocks
from serving import BINARY, ROOT, Server, wait_for

CHECKED = ["docs/guides/serving.md"]
DOCUMENTS = ["README.md", "docs/guides/first-five-minutes.md", "docs/guides/load.md",
             "docs/guides/repository.md", "docs/guides/routes.md", *CHECKED]
# As the reader's shell, but it stops at the first command that fails, an HTTP error included.
PREAMBLE = 'set -eu; curl() { command curl --silent --show-error --fail-with-body "$@"; }\n'
STATUS_PREAMBLE = 'set -eu; curl() { command curl -sS -w " status %{http_code}\\n" "$@"; }\n'
NUMBER = r"[-+\d.,e:TZ]*\d[-+\d.,e:TZ]*"


def is_server(block: str) -> bool:
    return block.startswith("build/verdict serve") and "--check" not in block


def line_pattern(line: str) -> str:
    """Matches what a line shows, whatever the numbers are."""
    parts = [".*" if part == "…" else NUMBER if part[:1].isdigit() else re.escape(part)
             for part in re.split(r"(…|\d[\d.,:TZ+e-]*\d|\d)", line.strip())]
    return "".join(parts)


def expect_shown(shown: str, printed: str, block: str) -> None:
    """What a line of the document continues on the next one is one line of the output."""
    plain = " ".join(printed.split())
    for line in filter(str.strip, shown.splitlines()):
        pattern = line_pattern(" ".join(line.split()))
        assert re.search(pattern, plain), f"{block}\nprints no line as\n{line}\nbut\n{printed}"


class Reader:
    """Runs a document in a folder of its own, with ports of its own."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.server: Server | None = None
        self.started = 0

    def serve(self, block: str) -> None:
        """With the flags of the block's first line, on free ports; its log is where `2>` says."""
        self.stop()
        line, _, log = block.splitlines()[0].removesuffix("&").partition("2>")
        flags = shlex.split(line.replace("--repository models", ""))[2:]
        self.server = Server(pathlib.Path("models"), self.folder / (log.strip() or "server.log"),
                             "--drain-ms", 0, *flags)
        self.started += 1
        (self.folder / "server.pid").write_text(f"{self.server.process.pid}\n")

    def run(self, block: str) -> str:
        """What it prints."""
        if self.server is not None:
            ports = {8000: self.server.port, 8001: self.server.grpc_address.rsplit(":", 1)[1],
                     8002: self.server.metrics_url.rsplit(":", 1)[1].split("/")[0],
                     8003: self.server.admin_address.rsplit(":", 1)[1]}
            for port, actual in ports.items():
                block = re.sub(rf"\blocalhost:{port}\b", f"localhost:{actual}", block)
        status = re.search(r"# ([45]\d\d)\b", block)
        done = subprocess.run(
            ["bash", "-c", (STATUS_PREAMBLE if status else PREAMBLE) + block], cwd=self.folder,
            capture_output=True, text=True, timeout=120, check=False)
        printed = done.stdout + done.stderr
        assert done.returncode == 0, f"{block}\n{printed}"
        assert status is None or f"status {status[1]}" in printed, f"{block}\n{printed}"
        return printed

    def logged(self) -> str:
        """What the server has printed and logged."""
        assert self.server is not None
        server = self.server
        return (f"listening on {server.url} (inference)\nlistening on {server.metrics_url}\n"
                f"listening on {server.admin_url} (admin)\n"
                f"listening on {server.grpc_address} (gRPC)\n{server.log()}")

    def stop(self) -> None:
        if self.server is not None:
            assert self.server.stop() == 0, self.server.log()
        self.server = None


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_works(
    document: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / document).read_text()
    blocks = code_blocks(text, "sh", "text")
    assert any("verdict build" in block for _, block in blocks)
    assert any("curl" in block for _, block in blocks)
    (tmp_path / "build").symlink_to(BINARY.parent)
    for folder in ("tests", "examples", "python", ".venv"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    reader = Reader(tmp_path)
    before = ""
    try:
        for kind, block in blocks:
            if kind == "text":
                if document not in CHECKED:
                    continue
                if is_server(before):
                    wait_for(lambda shown=block: all(
                        re.search(line_pattern(" ".join(line.split())), " ".join(reader.logged().split()))
                        for line in filter(str.strip, shown.splitlines())), block + reader.logged())
                else:
                    expect_shown(block, printed, before)
                continue
            before = block
            if is_server(block):
                reader.serve(block)
            else:
                printed = reader.run(block)
        reader.stop()
    finally:
        if reader.server is not None:
            reader.server.stop()
    assert reader.started > 0, "the document serves nothing"


def test_the_messages_of_the_guide_are_the_servers() -> None:
    """Each part of a message, apart from what "…", capitals and numbers stand for."""
    text = (ROOT / "docs/guides/serving.md").read_text()
    tables = text.split("## What messages mean", 1)[1].split("## Limits", 1)[0]
    rows = [line.split(" | ") for line in tables.splitlines() if line.startswith("| ")]
    messages = [message for row in rows if not row[0].startswith(("| message", "| status"))
                for message in re.findall("`([^`]+)`", row[2 if len(row) == 4 else 0])]
    assert len(messages) > 20
    source = "".join(path.read_text() for path in sorted((ROOT / "src").rglob("*.cc"))
                     if not path.stem.endswith("_test"))
    source = re.sub(r'"\s*\n?\s*"', "", source)
    for message in messages:
        for part in re.split(r"…|[A-Z:]{4,}: | N|'x'|: shape|\[[-\d,]+\]", message):
            words = part.strip(" :;.'")
            assert words in source, f"`{message}`: no source file says '{words}'"
