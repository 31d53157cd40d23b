"""docs/reference/openapi.yaml is what the server does: schemathesis sends what the document allows,
and what it forbids, and judges the answers by it."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest
import schemathesis
import tritonclient.http as triton
import yaml
from serving import ANSWER_TIMEOUT_S, ROOT, Response, Server, build, golden

DOCUMENT = ROOT / "docs" / "reference" / "openapi.yaml"
MODEL = "skl_mlp_binary"  # what the document's examples are for
TOKEN = "vdt_hush_of_all"
SEED = 1
EXAMPLES = 8  # of each operation in the phase that makes them up; others come on top
# 500 is a defect; these say that something is not offered, not there now, or too late.
ANYTHING = """
[generation]
allow-extra-parameters = false
[checks.not_a_server_error]
expected-statuses = ["2xx", "4xx", 501, 503, 504]
[checks.negative_data_rejection]
expected-statuses = ["4xx", 501, 503, 504]
"""
RIGHT = """
[generation]
allow-extra-parameters = false
[checks.not_a_server_error]
expected-statuses = ["2xx"]
[checks.positive_data_acceptance]
expected-statuses = [200]
"""
# To JSON Schema 2.0 is a whole number; the server wants it written as one, and says so.
HOOKS = """
import schemathesis


def plain(value):
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


@schemathesis.hook
def map_body(context, body):
    return plain(body)
"""


@pytest.fixture(scope="module")
def document() -> dict:
    return yaml.safe_load(DOCUMENT.read_text())


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves "fraud", and "spare" to be loaded and unloaded, to callers with a token."""
    folder = tmp_path_factory.mktemp("described")
    for model in ("fraud", "spare"):
        build(MODEL, folder / "models" / model / "1" / "model.engine")
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    clients = folder / "clients.yaml"
    clients.write_text(f"tokens:\n  - name: all\n    sha256: {digest}\n"
                       "    roles: [infer, admin, metrics]\n")
    running = Server(folder / "models", folder / "server.log", "--drain-ms", 0,
                     "--set", f"auth.clients_file={clients}", "--set", "shared_memory.allow=true",
                     "--set", "repository.mode=explicit", "--set", "repository.load=fraud,spare",
                     "--set", "tracing.endpoint=http://127.0.0.1:9/")
    yield running
    assert running.stop() == 0, running.log()


def operations(document: dict) -> Iterator[tuple[str, str, dict]]:
    """Path, verb and description of each."""
    for path, item in document["paths"].items():
        for verb in item.keys() & {"get", "post"}:
            yield path, verb, item[verb]


def with_examples(document: dict, path: str) -> str:
    """The path with the documented example of each of its parameters."""
    for reference in document["paths"][path].get("parameters", []):
        parameter = resolved(document, reference)
        path = path.replace("{%s}" % parameter["name"], parameter["example"])
    assert "{" not in path
    return path


def resolved(document: dict, item: dict) -> dict:
    for part in item["$ref"].split("/")[1:] if "$ref" in item else []:
        item = document[part] if "$ref" not in document else {}
        document = item
    return item


def ask(server: Server, verb: str, path: str, body: str = "") -> Response:
    return server.ask(f"{verb.upper()} {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}"
                      f"\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())


def listed_endpoints() -> dict[tuple[str, str], str]:
    """The server's table: path and verb -> role."""
    source = (ROOT / "src" / "serve" / "endpoints" / "list.cc").read_text()
    entries = re.findall(r'Endpoint\{Verb::k(\w+),\s*"([^"]+)",\s*\w+\s*(?:,\s*Role::k(\w+))?\s*\}',
                         source)
    assert len(entries) == source.count("Endpoint{Verb::"), "an entry of list.cc was not read"
    return {(path, verb.lower()): (role or "Admin").lower() for verb, path, role in entries}


def test_the_document_is_openapi(document: dict) -> None:
    schemathesis.openapi.from_dict(document).validate()
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))


def test_every_endpoint_is_documented_with_its_role(document: dict) -> None:
    documented = {(path, verb): operation.get("x-verdict-role", "open")
                  for path, verb, operation in operations(document) if path != "/metrics"}
    assert documented == listed_endpoints()
    for path, verb, operation in operations(document):
        assert (operation.get("security") == []) == ("x-verdict-role" not in operation), (path, verb)


def test_every_documented_path_is_routed(document: dict, described: Server) -> None:
    """The wrong method is asked for: a path that is there says which ones it takes."""
    for path, item in document["paths"].items():
        if path == "/metrics":
            continue
        refused = ask(described, "patch", with_examples(document, path))
        assert refused.code == 405, (path, refused.body)
        allowed = {"get": "GET, HEAD", "post": "POST"}
        assert refused.fields["allow"] == ", ".join(
            allowed[verb] for verb in ("get", "post") if verb in item), path
    assert ask(described, "get", "/v2/none").code == 404


def without_default_answers(document: dict) -> dict:
    """The same, with only such answers as an operation names."""
    strict = copy.deepcopy(document)
    for _, _, operation in operations(strict):
        del operation["responses"]["default"]
    strict["security"] = [{"bearer": []}]  # as the server at hand is set up
    return strict


def fix_parameter(document: dict, name: str, values: list[str], paths: str = "") -> None:
    """In paths that match, or everywhere."""
    for path, item in document["paths"].items():
        if "{%s}" % name in path and re.search(paths, path):
            item["parameters"] = [
                parameter for parameter in item["parameters"]
                if resolved(document, parameter)["name"] != name
            ] + [{"name": name, "in": "path", "required": True, "schema": {"enum": values}}]


def run_schemathesis(folder: pathlib.Path, document: dict, url: str, settings: str,
                     *flags: object) -> None:
    """On the command line, as anybody would, with what is needed to get the same run each time."""
    (folder / "openapi.json").write_text(json.dumps(document))
    (folder / "schemathesis.toml").write_text(settings)
    (folder / "hooks.py").write_text(HOOKS)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file",
               folder / "schemathesis.toml", "run", folder / "openapi.json", "--url", url,
               "--header", f"Authorization: Bearer {TOKEN}", "--seed", SEED,
               "--generation-deterministic", "--phases", "examples,coverage,fuzzing",
               "--workers", 1, "--no-color", "--output-sanitize", "false", *flags]
    done = subprocess.run([str(part) for part in command], cwd=folder, capture_output=True,
                          text=True, timeout=300, env=os.environ | {"SCHEMATHESIS_HOOKS": "hooks",
                                                                    "PYTHONPATH": str(folder)})
    assert done.returncode == 0, done.stdout + done.stderr
    cases = re.search(r"(\d+) generated", done.stdout)
    assert cases is not None and int(cases[1]) > 0, done.stdout


def check_still_right(server: Server) -> None:
    """After whatever came: it lives, has no defect to report, and answers as the model does."""
    assert server.process.poll() is None, server.log()
    assert ask(server, "get", "/v2/health/live").code == 200
    defaults = {"log_info": True, "log_warning": True, "log_error": True, "log_verbose_level": 0,
                "log_format": "default"}
    assert ask(server, "post", "/v2/logging", json.dumps(defaults)).code == 200
    inputs, wanted = golden(MODEL)
    tensor = triton.InferInput("x", inputs["x"].shape, "FP32")
    tensor.set_data_from_numpy(inputs["x"])
    with triton.InferenceServerClient(server.address) as client:
        got = client.infer("fraud", [tensor], headers={"Authorization": f"Bearer {TOKEN}"})
    np.testing.assert_allclose(got.as_numpy("probabilities"), wanted["probabilities"],
                               rtol=1e-5, atol=1e-5)
    counts = dict(re.findall(r'verdict_http_responses_total{code="(\d+)"} (\d+)', metrics(server)))
    assert int(counts["200"]) > 0 and int(counts.get("500", 0)) == 0, counts


def metrics(server: Server, token: str = TOKEN) -> str:
    request = urllib.request.Request(server.metrics_url,
                                     headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S) as response:
        return response.read().decode()


def test_whatever_is_sent(document: dict, described: Server, tmp_path: pathlib.Path) -> None:
    """Data of every kind, good and bad: no defect of the server, and nothing but what is documented
    for that operation: status, type and fields of the answer."""
    strict = without_default_answers(document)
    del strict["paths"]["/metrics"]
    fix_parameter(strict, "model", ["spare", "none", ".no-name"], "load$")
    run_schemathesis(tmp_path, strict, f"http://{described.address}", ANYTHING,
                     "--mode", "all", "--max-examples", EXAMPLES,
                     "--exclude-checks", "positive_data_acceptance")
    check_still_right(described)


def test_what_is_right_is_accepted(document: dict, described: Server,
                                   tmp_path: pathlib.Path) -> None:
    """With the names and shapes of a model that is there, all good data is answered 200."""
    strict = without_default_answers(document)
    for path in [path for path in strict["paths"]
                 if path == "/metrics" or re.search("register$|region/{region}/status$|/fault$", path)]:
        del strict["paths"][path]
    fix_parameter(strict, "model", ["fraud"])
    fix_parameter(strict, "model", ["spare"], "load$")
    fix_parameter(strict, "version", ["1"])
    components = strict["components"]
    components["requestBodies"]["Inference"]["content"].pop("application/octet-stream")
    for name in ("InferenceHeaderLength", "ContentEncoding"):  # they would have to fit the body
        del components["parameters"][name]
        for path, verb, operation in operations(strict):
            operation["parameters"] = [reference for reference in operation.get("parameters", [])
                                       if not reference["$ref"].endswith("/" + name)]
    for name, least in (("DeadlineUs", 60_000_000), ("EnvoyTimeoutMs", 60_000)):
        components["parameters"][name]["schema"]["minimum"] = least
    schemas = components["schemas"]
    schemas["LoadRequest"]["properties"]["parameters"]["properties"]["config"] = {
        "enum": ["{}", '{"max_batch_size": 0}']}
    schemas["RequestInput"]["properties"] |= {
        "name": {"const": "x"}, "datatype": {"const": "FP32"}, "shape": {"const": [1, 10]},
        "data": {"type": "array", "minItems": 10, "maxItems": 10,
                 "items": {"type": "number", "minimum": -1e6, "maximum": 1e6}}}
    schemas["RequestInput"]["required"].append("data")
    schemas["RequestOutput"]["properties"]["name"] = {"enum": ["label", "probabilities"]}
    schemas["TensorParameters"]["properties"] = {"binary_data": {"type": "boolean"}}
    schemas["TensorParameters"]["additionalProperties"] = False
    properties = schemas["InferRequest"]["properties"]
    properties["inputs"] |= {"minItems": 1, "maxItems": 1}
    properties["outputs"] |= {"maxItems": 1}
    run_schemathesis(tmp_path, strict, f"http://{described.address}", RIGHT,
                     "--mode", "positive", "--max-examples", EXAMPLES)
    check_still_right(described)


def test_metrics_are_as_documented(document: dict, described: Server,
                                   tmp_path: pathlib.Path) -> None:
    strict = without_default_answers(document)
    strict["paths"] = {"/metrics": strict["paths"]["/metrics"]}
    del strict["paths"]["/metrics"]["servers"]
    url = described.metrics_url.removesuffix("/metrics")
    run_schemathesis(tmp_path, strict, url, ANYTHING, "--max-examples", 5)
