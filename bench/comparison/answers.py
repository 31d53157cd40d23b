"""Answers are checked before anything is timed: each server's against ONNX Runtime's."""

from __future__ import annotations

import json
import queue
import urllib.request

import numpy as np
import onnxruntime

from comparison import environment
from comparison.servers import Server

TOLERANCE = 1e-5  # relative plus absolute
CHECKED_ROWS = 8
TIMEOUT_S = 30
DATATYPES = {np.dtype(np.float32): "FP32", np.dtype(np.int64): "INT64"}

Arrays = dict[str, np.ndarray]


def make_inputs(model: str, rows: int) -> Arrays:
    """Seeded normal values, `rows` rows of the model's inputs."""
    session = onnxruntime.InferenceSession(str(environment.MODELS / f"{model}.onnx"),
                                           providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    return {value.name: rng.standard_normal((rows, *value.shape[1:]), dtype=np.float32)
            for value in session.get_inputs()}


def expected(model: str, inputs: Arrays) -> Arrays:
    session = onnxruntime.InferenceSession(str(environment.MODELS / f"{model}.onnx"),
                                           providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs)))


def _ask_json(port: int, model: str, row: Arrays) -> Arrays:
    document = {"inputs": [{"name": name, "datatype": DATATYPES[value.dtype],
                            "shape": list(value.shape), "data": value.ravel().tolist()}
                           for name, value in row.items()]}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v2/models/{model}/infer",
                                     json.dumps(document).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        outputs = json.load(response)["outputs"]
    return {output["name"]: np.array(output["data"]).reshape(output["shape"])
            for output in outputs}


def _ask_triton(protocol: str, port: int, model: str, row: Arrays) -> Arrays:
    """Through Triton's own client."""
    if protocol == "http-binary":
        import tritonclient.http as client
    else:
        import tritonclient.grpc as client
    inputs = []
    for name, value in row.items():
        inputs.append(client.InferInput(name, value.shape, DATATYPES[value.dtype]))
        inputs[-1].set_data_from_numpy(value)
    with client.InferenceServerClient(f"127.0.0.1:{port}") as connection:
        if protocol == "grpc-stream":
            answers: queue.Queue = queue.Queue()
            connection.start_stream(lambda result, error: answers.put((result, error)))
            connection.async_stream_infer(model, inputs)
            result, error = answers.get(timeout=TIMEOUT_S)
            connection.stop_stream()
            if error is not None:
                raise error
        else:
            result = connection.infer(model, inputs)
        response = result.get_response()
        outputs = response["outputs"] if isinstance(response, dict) else response.outputs
        names = [o["name"] if isinstance(o, dict) else o.name for o in outputs]
        return {name: result.as_numpy(name) for name in names}


def check(server: Server, protocol: str, model: str, inputs: Arrays, want: Arrays) -> str:
    """Asks for rows one by one. Returns what is wrong, or an empty string."""
    for r in range(CHECKED_ROWS):
        row = {name: value[r:r + 1] for name, value in inputs.items()}
        ask = _ask_json if protocol == "http-json" else (
            lambda *arguments: _ask_triton(protocol, *arguments))
        try:
            got = ask(server.port(protocol), model, row)
        except Exception as error:  # whatever the client raises: this row cannot be measured
            return f"row {r}: {type(error).__name__}: {error}"
        if set(got) != set(want):
            return f"row {r}: outputs {sorted(got)} instead of {sorted(want)}"
        for name, value in got.items():
            value, exact = value.ravel(), want[name][r:r + 1].ravel()
            if value.size != exact.size or not np.all(
                    np.abs(value - exact) <= TOLERANCE * (1 + np.abs(exact))):
                return f"row {r}: {name} is {value[:4]}, ONNX Runtime says {exact[:4]}"
    return ""
