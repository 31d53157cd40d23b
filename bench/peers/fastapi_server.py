#!/usr/bin/env python3
"""The server a team writes itself: FastAPI and ONNX Runtime behind the v2 protocol's JSON.

Written for speed: orjson both ways, no validation by pydantic, uvicorn with uvloop and httptools,
one ONNX Runtime thread a worker, the model run on the event loop (a thread pool costs more than
these models take).

Usage: fastapi_server.py --models DIR --port PORT [--workers N]
  DIR holds <model>.onnx.
"""

from __future__ import annotations

import argparse
import os
import pathlib

import fastapi
import numpy as np
import onnxruntime
import orjson
import uvicorn

DTYPES = {"FP32": np.float32, "INT64": np.int64}
NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}


def load(path: pathlib.Path) -> tuple[onnxruntime.InferenceSession, list[str]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session, [output.name for output in session.get_outputs()]


def metadata(name: str, session: onnxruntime.InferenceSession) -> dict[str, object]:
    def describe(values: list) -> list[dict[str, object]]:
        types = {"tensor(float)": "FP32", "tensor(int64)": "INT64"}
        return [{"name": v.name, "datatype": types[v.type],
                 "shape": [d if isinstance(d, int) else -1 for d in v.shape]} for v in values]
    return {"name": name, "versions": ["1"], "platform": "onnxruntime",
            "inputs": describe(session.get_inputs()), "outputs": describe(session.get_outputs())}


def make_app() -> fastapi.FastAPI:
    models = {path.stem: load(path)
              for path in sorted(pathlib.Path(os.environ["BENCH_MODELS"]).glob("*.onnx"))}
    app = fastapi.FastAPI()

    def answer(document: object, status: int = 200) -> fastapi.Response:
        return fastapi.Response(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY), status,
                                media_type="application/json")

    @app.get("/v2/health/ready")
    async def ready() -> fastapi.Response:
        return answer({})

    @app.get("/v2/models/{name}")
    async def describe(name: str) -> fastapi.Response:
        return answer(metadata(name, models[name][0]))

    @app.post("/v2/models/{name}/infer")
    async def infer(name: str, request: fastapi.Request) -> fastapi.Response:
        session, names = models[name]
        document = orjson.loads(await request.body())
        feed = {value["name"]: np.asarray(value["data"], DTYPES[value["datatype"]])
                .reshape(value["shape"]) for value in document["inputs"]}
        outputs = [{"name": output, "datatype": NAMES[value.dtype], "shape": value.shape,
                    "data": value.ravel()} for output, value in zip(names, session.run(None, feed))]
        return answer({"model_name": name, "model_version": "1", "outputs": outputs})

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    os.environ["BENCH_MODELS"] = args.models
    uvicorn.run("fastapi_server:make_app", factory=True, host="127.0.0.1", port=args.port,
                workers=args.workers, loop="uvloop", http="httptools", access_log=False,
                log_level="warning", app_dir=str(pathlib.Path(__file__).parent))


if __name__ == "__main__":
    main()
