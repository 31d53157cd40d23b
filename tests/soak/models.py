"""The models that a soak serves, the requests to them, and the answers that are right, by ONNX Runtime."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime
from load import Streams
from serving import GOLDEN, Response, golden, post
from tritonclient.grpc import service_pb2

TOLERANCE = 1e-5
# What the versions of "fraud" are in turn: a scorecard, boosted trees, a forest.
KINDS = ("skl_lr_binary", "skl_gb_binary", "skl_rf_binary")
NETWORK = "torch_mlp_ln_gelu_op13"
STEP = "torch_gru_step_op17"
STEPS = 6
ROWS = golden("skl_lr_binary")[0]["x"][:, :10]
NETWORK_ROWS = golden(NETWORK)[0]["x"]


def run(model: str, outputs: list[str], **inputs: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(GOLDEN / f"{model}.onnx",
                                           providers=["CPUExecutionProvider"])
    return session.run(outputs, inputs)


PROBABILITIES = {kind: run(kind, ["probabilities"], x=ROWS)[0] for kind in KINDS}
NETWORK_SCORES = golden(NETWORK)[1]["y"]


def kind_of(version: int) -> str:
    return KINDS[version % len(KINDS)]


def walk(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The inputs of a sequence [STEPS,1,6], and its scores [STEPS,1]."""
    inputs = np.random.default_rng(seed).normal(size=(STEPS, 1, 6)).astype(np.float32)
    state = np.zeros((1, 8), np.float32)
    scores = []
    for x in inputs:
        score, state = run(STEP, ["score", "new_state"], x=x, state=state)
        scores.append(score[0])
    return inputs, np.array(scores)


WALKS = [walk(seed) for seed in range(8)]


def http_request(model: str, x: np.ndarray, output: str, binary: bool = False,
                 parameters: dict | None = None, **fields: object) -> bytes:
    tensor: dict = {"name": "x", "datatype": "FP32", "shape": list(x.shape)}
    raw = b""
    if binary:
        raw = x.tobytes()
        tensor["parameters"] = {"binary_data_size": len(raw)}
    else:
        tensor["data"] = x.ravel().tolist()
    text = json.dumps({"parameters": parameters or {}, "inputs": [tensor],
                       "outputs": [{"name": output, "parameters": {"binary_data": binary}}]})
    if binary:
        fields["Inference_Header_Content_Length"] = len(text)
    return post(f"/v2/models/{model}/infer", text.encode() + raw, **fields)


def http_values(answer: Response) -> tuple[dict, np.ndarray]:
    """The answer's JSON, and its output."""
    length = answer.fields.get("inference-header-content-length")
    if length is None:
        body = answer.json()
        return body, np.float32(body["outputs"][0]["data"])
    return (json.loads(answer.body[: int(length)]),
            np.frombuffer(answer.body[int(length):], np.float32))


def grpc_request(model: str, x: np.ndarray, output: str, request_id: str = "",
                 **parameters: object) -> bytes:
    request = service_pb2.ModelInferRequest(model_name=model, id=request_id)
    request.inputs.add(name="x", datatype="FP32", shape=x.shape)
    request.outputs.add(name=output)
    request.raw_input_contents.append(x.tobytes())
    for name, value in parameters.items():
        if isinstance(value, bool):
            request.parameters[name].bool_param = value
        elif isinstance(value, int):
            request.parameters[name].int64_param = value
        else:
            request.parameters[name].string_param = value
    return request.SerializeToString()


def near(got: np.ndarray, want: np.ndarray, what: str) -> None:
    assert np.allclose(np.ravel(got), np.ravel(want), TOLERANCE, TOLERANCE), (
        f"{what} answered {np.ravel(got).tolist()}, right is {np.ravel(want).tolist()}")


def check_fraud(number: int, version: str, got: np.ndarray) -> None:
    near(got, PROBABILITIES[kind_of(int(version))][number % len(ROWS)], f"fraud version {version}")


def check_fraud_response(number: int, response: service_pb2.ModelInferResponse) -> str:
    check_fraud(number, response.model_version,
                np.frombuffer(response.raw_output_contents[0], np.float32))
    return "OK"


def check_fraud_over_stream(number: int, streams: Streams) -> str:
    answer = streams.ask(number, grpc_request(
        "fraud", ROWS[number % len(ROWS)][None], "probabilities", str(number)))
    if answer.error_message:
        return answer.error_message
    return check_fraud_response(number, answer.infer_response)
