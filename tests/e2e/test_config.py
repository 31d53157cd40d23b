"""Configuration: what `verdict serve` reads agrees with the published schemas and documents."""

from __future__ import annotations

import json
import os
import pathlib
import re
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml
from serving import BINARY, ROOT, Server

REFERENCE = ROOT / "docs" / "reference"
SERVER_SCHEMA = json.loads((REFERENCE / "server.schema.json").read_text())
MODEL_SCHEMA = json.loads((REFERENCE / "model.schema.json").read_text())
DOCUMENT = (REFERENCE / "configuration.md").read_text()
TIMEOUT_S = 60
NO_EFFECT = "has no effect in this version"


class Yaml12Loader(yaml.SafeLoader):
    """PyYAML as YAML 1.2 has it: truth is true and false; keys are text, as in JSON."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:
        return {key.value: self.construct_object(value, deep=True) for key, value in node.value}


Yaml12Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers
            if not tag.endswith((":bool", ":timestamp", ":merge"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}  # fmt: skip
Yaml12Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("^(true|false)$"), list("tf"))
Yaml12Loader.add_constructor(
    "tag:yaml.org,2002:map", lambda loader, node: loader.construct_mapping(node))


def serve(*flags: object, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("VERDICT_")}
    return subprocess.run(
        [str(BINARY), "serve", *map(str, flags)], env=clean | environment, capture_output=True,
        text=True, timeout=TIMEOUT_S, check=False)


def fits(schema: dict[str, Any], text: str) -> bool:
    return jsonschema.Draft202012Validator(schema).is_valid(yaml.load(text, Yaml12Loader))


def leaves(schema: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, dict]]:
    """Every key that has a value of its own, with its schema."""
    for name, below in schema["properties"].items():
        if "properties" in below:
            yield from leaves(below, (*path, name))
        elif "type" in below or "enum" in below:
            yield ".".join((*path, name)), below


def other_value(schema: dict[str, Any]) -> Any:
    """A value that the schema allows, and that is not the default."""
    default = schema.get("default")
    if "enum" in schema:
        return next(value for value in schema["enum"] if value != default)
    return {
        "boolean": not default,
        "integer": schema.get("minimum", 0) + (default == schema.get("minimum", 0)),
        "number": 0.25,
        "string": "text",
        "array": [1] if schema.get("items", {}).get("type") == "integer" else ["text"],
    }[schema["type"]]


def wrong_values(schema: dict[str, Any]) -> Iterator[Any]:
    """Values that the schema forbids."""
    yield {"a": 1}
    yield None
    if "enum" in schema:
        yield "other"
        return
    if "maximum" in schema:
        yield schema["maximum"] + 1
        yield schema["minimum"] - 1
        yield "1"
    if schema["type"] == "integer":
        yield 1.5
    if schema["type"] == "string":
        yield 5
        yield True
        yield "a\nb"
    else:
        yield "text"
    if schema["type"] != "array":
        yield [1]


def document(path: str, value: Any) -> str:
    for name in reversed(path.split(".")):
        value = {name: value}
    return json.dumps(value)  # which is YAML


# What must be set beside a key.
CONTEXT = {
    "repository.load": ["repository.mode=explicit"],
    "tls.certificate": ["tls.key=k"],
    "tls.key": ["tls.certificate=c"],
    "tls.client_ca": ["tls.certificate=c", "tls.key=k", "tls.client_auth=required"],
    "tls.client_auth": ["tls.certificate=c", "tls.key=k", "tls.client_ca=a"],
    "limits.shed.priority_levels": ["limits.shed.default_priority=1"],
}
SERVER_KEYS = dict(leaves(SERVER_SCHEMA))
SCALARS = {k: v for k, v in SERVER_KEYS.items() if v.get("type") != ["object", "null"]}


@pytest.mark.parametrize("schema", [SERVER_SCHEMA, MODEL_SCHEMA], ids=["server", "model"])
def test_the_schemas_are_schemas(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)


def test_the_printed_defaults_fit_the_schema_and_are_its_defaults(tmp_path: pathlib.Path) -> None:
    done = serve("--print-config")
    assert done.returncode == 0, done.stderr
    printed = yaml.load(done.stdout, Yaml12Loader)
    jsonschema.validate(printed, SERVER_SCHEMA)
    found = {}
    for path in SERVER_KEYS:
        value = printed
        for name in path.split("."):
            value = value[name]
        found[path] = value
    assert found == {path: schema.get("default", {}) for path, schema in SERVER_KEYS.items()}
    file = tmp_path / "server.yaml"
    file.write_text(done.stdout)
    again = serve("--print-config", "--config", file)
    assert (again.returncode, again.stdout) == (0, done.stdout)


@pytest.mark.parametrize("path", SCALARS)
def test_each_key_is_taken_from_file_environment_and_flag(
        path: str, tmp_path: pathlib.Path) -> None:
    value = other_value(SERVER_KEYS[path])
    text = document(path, value)
    assert fits(SERVER_SCHEMA, text)
    file = tmp_path / "server.yaml"
    file.write_text(text)
    word = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    word = word.lower() if isinstance(value, bool) else word
    name = "VERDICT_" + path.replace(".", "_").upper()
    context = [part for setting in CONTEXT.get(path, []) for part in ("--set", setting)]
    for done in (serve("--print-config", *context, "--config", file),
                 serve("--print-config", *context, **{name: word}),
                 serve("--print-config", *context, "--set", f"{path}={word}")):
        assert "no such key" not in done.stderr and "names no key" not in done.stderr
        if done.returncode == 0:
            printed: Any = yaml.load(done.stdout, Yaml12Loader)
            for part in path.split("."):
                printed = printed[part]
            assert printed == value
        else:
            assert all(NO_EFFECT in line for line in done.stderr.splitlines()), done.stderr


@pytest.mark.parametrize("path", SCALARS)
def test_wrong_values_are_refused_by_schema_and_parser(path: str, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "server.yaml"
    for value in wrong_values(SERVER_KEYS[path]):
        text = document(path, value)
        assert not fits(SERVER_SCHEMA, text), text
        file.write_text(text)
        done = serve("--print-config", "--config", file)
        assert done.returncode == 1, text
        assert re.match(rf"verdict serve: error: {file}:1:\d+: key '{path}", done.stderr), (
            f"{text}: {done.stderr}")
        assert NO_EFFECT not in done.stderr, text


def check_model(text: str, folder: pathlib.Path) -> subprocess.CompletedProcess[str]:
    """What --check says of a model with that config.yaml."""
    (folder / "fraud" / "config.yaml").write_text(text)
    return serve("--check", "--repository", folder)


GOOD_MODELS = [
    "", "# nothing\n", "name: fraud\nplatform: verdict_engine\nbackend: verdict\n",
    "version_policy: {latest: {num_versions: 1}}", "version_policy: {all: {}}",
    "version_policy: {specific: {versions: [1]}}", "instance_group: [{count: 2, kind: KIND_CPU}]",
    "instance_group: [{count: 2, kind: KIND_GPU}]",
    "max_batch_size: 8\ndynamic_batching:\n",
    """max_batch_size: 8
dynamic_batching:
  preferred_batch_size: [2, 4]
  max_queue_delay_microseconds: 100
  preserve_ordering: true
  priority_levels: 2
  default_priority_level: 1
  default_queue_policy:
    timeout_action: DELAY
    default_timeout_microseconds: 1000
    allow_timeout_override: true
    max_queue_size: 16
  priority_queue_policy: {1: {max_queue_size: 4}, 2: {}}
""",
    """sequence_batching:
  max_sequence_idle_microseconds: 1000
  oldest: {max_candidate_sequences: 5}
  state: [{input_name: h, output_name: hn}]
""",
    """default_model_filename: model.engine
input: [{name: x, data_type: TYPE_FP32, dims: [-1, 10]}]
output: [{name: probabilities}]
""",
]  # fmt: skip

BAD_MODELS = [
    "max_batchsize: 8", "max_batch_size: 8.5", "max_batch_size: '8'", "max_batch_size: -1",
    "max_batch_size:", "max_batch_size: [8]", "max_batch_size: 1000001", "name: 5",
    "version_policy: latest", "version_policy: {latest: {num_versions: 0}}",
    "version_policy: {specific: {}}", "version_policy: {specific: {versions: 1}}",
    "version_policy: {specific: {versions: ['1']}}", "version_policy: {newest: {}}",
    "dynamic_batching: {preferred_batch_size: 4}", "dynamic_batching: {preferred_batch_size: [0]}",
    "dynamic_batching: {preserve_ordering: yes}", "dynamic_batching: {preserve_ordering: 1}",
    "dynamic_batching: {default_queue_policy: {timeout_action: reject}}",
    "dynamic_batching: {priority_queue_policy: {high: {}}}",
    "dynamic_batching: {priority_queue_policy: {1: {size: 4}}}",
    "dynamic_batching: {priority_queue_policy: {0: {}}}",
    "sequence_batching: {}", "sequence_batching:", "sequence_batching: {state: []}",
    "sequence_batching: {state: [{input_name: h}]}", "sequence_batching: {state: {}}",
    "input: [{dims: [1]}]", "output: [{name: x, data_type: 1}]", "input: [{name: x, dims: 1}]",
    "instance_group: {count: 1}", "instance_group: [{}, {}]", "instance_group: [{kind: KIND_MODEL}]",
    "[]", "text", "5",
]  # fmt: skip


@pytest.mark.parametrize("text", GOOD_MODELS)
def test_schema_and_parser_take_the_same_models(
        text: str, small_repository: pathlib.Path) -> None:
    assert fits(MODEL_SCHEMA, text)
    done = check_model(text, small_repository)
    # What the parser takes may still ask too much of this engine: then that is what is named.
    assert "config.yaml" not in done.stderr, done.stderr


def test_the_good_models_have_every_key() -> None:
    def keys(schema: dict[str, Any]) -> Iterator[str]:
        for name, below in schema.get("properties", {}).items():
            yield name
            yield from keys(below)
            yield from keys(below.get("items", {}))
            for section in below.get("patternProperties", {}).values():
                yield from keys(section)
    text = "\n".join(GOOD_MODELS)
    assert [name for name in keys(MODEL_SCHEMA) if not re.search(rf"\b{name}:", text)] == []


@pytest.mark.parametrize("text", BAD_MODELS)
def test_schema_and_parser_refuse_the_same_models(
        text: str, small_repository: pathlib.Path) -> None:
    assert not fits(MODEL_SCHEMA, text)
    done = check_model(text, small_repository)
    assert done.returncode == 1
    assert re.search(r"/fraud/config\.yaml:\d+:\d+: ", done.stderr), done.stderr
    assert "fails: " in done.stdout


def test_check_reports_every_problem_and_binds_no_port(
        small_repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    running = Server(small_repository, tmp_path / "log", "--drain-ms", 0)
    try:
        done = serve("--check", "--repository", small_repository, "--http-port", running.port)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[1].split() == ["fraud", "1", "none", "ready"]
    finally:
        assert running.stop() == 0
    (small_repository / "fraud" / "config.yaml").write_text("max_batchsize: 1\nname: other\n")
    (small_repository / "other" / "1").mkdir(parents=True)
    (small_repository / "other" / "1" / "model.engine").write_bytes(b"no engine")
    (small_repository / "empty" / "1").mkdir(parents=True)
    file = tmp_path / "server.yaml"
    file.write_text(f"htpp: {{}}\nrepository: {{path: {small_repository}}}\n")
    done = serve("--check", "--config", file, VERDICT_DRAIN_MS="soon", VERDICT_HTTP_PROT="1")
    assert done.returncode == 1
    for text in (f"error: {file}:1:1: key 'htpp'", "error: VERDICT_DRAIN_MS: key 'drain_ms'",
                 "config.yaml:1:1: key 'max_batchsize'", "other/1/model.engine: ",
                 "note: passed over: ", "warning: environment variable VERDICT_HTTP_PROT"):
        assert text in done.stderr, done.stderr


def test_the_server_takes_its_settings_from_all_sources(
        small_repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "server.yaml"
    file.write_text("http: {max_body_bytes: 10}\ndrain_ms: 0\n")
    running = Server(small_repository, tmp_path / "log", "--config", file)
    try:
        request = b"POST /v2/models/fraud/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n"
        assert running.ask(request + b"x" * 11).code == 413
    finally:
        assert running.stop() == 0


def test_a_server_without_repository_says_so(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "server.yaml"
    file.write_text("http: {port: 0}\n")
    done = serve("--config", file)
    assert done.returncode == 1
    assert "give --repository DIR" in done.stderr
    done = serve()
    assert done.returncode == 2
    assert "--repository or --config is required" in done.stderr
    named = serve(VERDICT_REPOSITORY_PATH=str(tmp_path / "none"))
    assert named.returncode == 1 and str(tmp_path / "none") in named.stderr


@pytest.mark.parametrize("flags, message", [
    (("--http-port", "65536"), "--http-port: '65536' is out of range"),
    (("--set", "http.prot=1"), "did you mean 'http.port'?"),
    (("--set", "http.port"), "is no KEY=VALUE"),
])
def test_wrong_flags_are_usage_errors(flags: tuple[str, ...], message: str) -> None:
    done = serve(*flags)
    assert done.returncode == 2 and message in done.stderr


@pytest.mark.parametrize("path", SERVER_KEYS)
def test_each_key_is_documented(path: str) -> None:
    row = next((line for line in DOCUMENT.splitlines() if line.startswith(f"| `{path}` |")), None)
    assert row is not None
    schema = SERVER_KEYS[path]
    assert schema["description"].replace("|", "\\|") in row
    if path in SCALARS:
        assert f"`VERDICT_{path.replace('.', '_').upper()}`" in row
        assert f"`{json.dumps(schema['default'])}`" in row


def test_each_key_of_a_model_is_documented() -> None:
    def rows(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
        for name, below in schema.get("properties", {}).items():
            yield f"| `{path}{name}` |", below["description"]
            yield from rows(below, f"{path}{name}.")
            yield from rows(below.get("items", {}), f"{path}{name}[].")
    lines = DOCUMENT.splitlines()
    for start, text in rows(MODEL_SCHEMA):
        assert any(line.startswith(start) and text in line for line in lines), start


def test_no_key_is_documented_that_does_not_exist() -> None:
    documented = re.findall(r"^\| `([a-z0-9_.]+)` \|.*`VERDICT_", DOCUMENT, re.MULTILINE)
    assert len(documented) == len(SCALARS) and set(documented) == set(SCALARS)


def mistake(what: str, folder: pathlib.Path) -> tuple[list[object], str]:
    """A mistake that operators make: flags of `verdict serve`, and what the message must match.

    folder: holds models/fraud/1/model.engine.
    """
    models, file = folder / "models", folder / "server.yaml"
    engine = models / "fraud" / "1" / "model.engine"
    text = f"repository: {{path: {models}}}\n"
    at = re.escape(str(file))
    expected = {
        "wrong key": rf"{at}:2:8: key 'http.prot': .*did you mean 'port'\?\); correct it or leave",
        "wrong unit": rf"{at}:2:24: key 'http.idle_timeout_s': '30s' has a unit; write the number "
                      "alone, from 1 to 86400",
        "missing file": rf"{at}: there is no such file; correct the path",
        "missing certificate": rf"section 'tls': {folder}/no\.crt: cannot open: No such file or "
                               "directory; correct the path",
        "no certificate": rf"section 'tls': {at}: no certificate in PEM form is in there",
        "wide clients file": rf"key 'auth\.clients_file': {folder}/clients\.yaml: every user .* "
                             "may write it.*; chmod o-w",
        "open admin port": r"the admin port at '0\.0\.0\.0' would take admin calls .* "
                           r"\(admin\.host\).*\(auth\.clients_file\)",
        "no collector": r"key 'tracing\.endpoint': the URL of the trace collector, 'ftp://c/', must be "
                        "like http://collector:4318/v1/traces",
        "model named twice": rf"{at}:2:1: key 'repository': stands twice, first on line 1; keep one",
        "missing model": rf"{models}: has no model 'other', which repository\.load names; add it",
        "version is no number": rf"passed over: {models}/fraud/v1: 'v1' is not a version: versions "
                                "are whole numbers",
        "empty repository": rf"{folder}/none: holds no model; put engines in <model>/<version>",
        "newer format": rf"{re.escape(str(engine))}: .*in format 9\.1, this build reads 1\.x; "
                        "upgrade verdict, or rebuild the engine",
    }[what]  # fmt: skip
    flags: list[object] = ["--config", file]
    if what == "wrong key":
        text += "http: {prot: 8000}\n"
    elif what == "wrong unit":
        text += "http: {idle_timeout_s: 30s}\n"
    elif what == "missing file":
        return flags, expected
    elif what in ("missing certificate", "no certificate"):
        certificate = folder / "no.crt" if what.startswith("missing") else file
        text += f"tls: {{certificate: {certificate}, key: {folder}/no.key}}\n"
    elif what == "wide clients file":
        text += f"auth: {{clients_file: {folder}/clients.yaml}}\n"
        (folder / "clients.yaml").write_text("tokens: []\n")
        (folder / "clients.yaml").chmod(0o666)
    elif what == "open admin port":
        text += "admin: {host: 0.0.0.0}\n"
    elif what == "no collector":
        text += "tracing: {endpoint: ftp://c/}\n"
    elif what == "model named twice":
        text += text
    elif what == "missing model":
        text = f"repository: {{path: {models}, mode: explicit, load: [other]}}\n"
    elif what == "version is no number":
        engine.parent.rename(models / "fraud" / "v1")
    elif what == "empty repository":
        (folder / "none").mkdir()
        text = f"repository: {{path: {folder}/none}}\n"
    elif what == "newer format":
        whole = bytearray(engine.read_bytes())
        whole[8] = 9
        engine.write_bytes(whole)
    file.write_text(text)
    return flags, expected


@pytest.mark.parametrize("what", [
    "wrong key", "wrong unit", "missing file", "missing certificate", "no certificate",
    "wide clients file", "open admin port", "no collector", "model named twice",
    "missing model", "version is no number", "empty repository", "newer format",
])  # fmt: skip
def test_check_says_what_is_wrong_where_and_what_to_do(
        what: str, small_repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    small_repository.rename(tmp_path / "models")
    flags, expected = mistake(what, tmp_path)
    done = serve("--check", *flags)
    assert done.returncode == 1
    assert re.search(expected, done.stderr), done.stderr


@pytest.mark.parametrize("key", ["http.port", "grpc.port", "admin.port", "metrics.port"])
def test_a_port_in_use_is_named(key: str, small_repository: pathlib.Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = [part for other in ("http", "grpc", "admin", "metrics")
                    for part in ("--set", f"{other}.host=127.0.0.1",
                                 "--set", f"{other}.port={port if key.startswith(other) else 0}")]
        done = serve("--repository", small_repository, *settings)
    assert done.returncode == 1
    assert "cannot listen on " in done.stderr and f"127.0.0.1:{port}" in done.stderr
    assert "stop the process that uses it, or choose another" in done.stderr
    assert (f"--set {key}=PORT" if key != "grpc.port" else "--grpc-port") in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
