#!/usr/bin/env python3
"""The service that a model's author writes: aiohttp, JSON in and out, PyTorch eager in float32.

One process a model, on the GPU where there is one. Requests and answers are the v2 protocol's JSON,
so that the same client asks it and the others.

Usage: torch_server.py --model R4b --onnx R4b.onnx --port PORT [--device cuda]
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys

import numpy as np
import onnx
import torch
from aiohttp import web

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from gpu import torch_models  # noqa: E402

TYPES = {onnx.TensorProto.FLOAT: ("FP32", np.float32), onnx.TensorProto.INT64: ("INT64", np.int64),
         onnx.TensorProto.BOOL: ("BOOL", np.bool_)}


class Service:
    def __init__(self, name: str, path: str, device: str) -> None:
        graph = onnx.load(path).graph
        self.name, self.device = name, device
        self.inputs = [(v.name, *TYPES[v.type.tensor_type.elem_type],
                        [d.dim_value or -1 for d in v.type.tensor_type.shape.dim])
                       for v in graph.input]
        self.outputs = [v.name for v in graph.output]
        self.module = torch_models.load(name, path).to(device)

    def describe(self) -> dict[str, object]:
        return {"name": self.name, "versions": ["1"], "platform": "pytorch",
                "inputs": [{"name": name, "datatype": datatype, "shape": shape}
                           for name, datatype, _, shape in self.inputs],
                "outputs": [{"name": name, "datatype": "FP32", "shape": [-1, -1]}
                            for name in self.outputs]}

    def infer(self, document: dict) -> dict[str, object]:
        given = {value["name"]: value for value in document["inputs"]}
        tensors = [torch.from_numpy(np.asarray(given[name]["data"], dtype)
                                    .reshape(given[name]["shape"])).to(self.device)
                   for name, _, dtype, _ in self.inputs]
        with torch.inference_mode():
            found = self.module(*tensors)
        found = found if isinstance(found, tuple) else (found,)
        return {"model_name": self.name, "model_version": "1", "outputs": [
            {"name": name, "datatype": "FP32", "shape": list(value.shape),
             "data": value.flatten().tolist()} for name, value in zip(self.outputs, found)]}


def make_app(service: Service) -> web.Application:
    async def ready(_: web.Request) -> web.Response:
        return web.json_response({})

    async def describe(_: web.Request) -> web.Response:
        return web.json_response(service.describe())

    async def infer(request: web.Request) -> web.Response:
        # On the event loop, as such services do: one run at a time is all that the GIL allows.
        return web.json_response(service.infer(json.loads(await request.read())))

    app = web.Application(client_max_size=64 << 20)
    app.add_routes([web.get("/v2/health/ready", ready),
                    web.get(f"/v2/models/{service.name}", describe),
                    web.get(f"/v2/models/{service.name}/ready", ready),
                    web.post(f"/v2/models/{service.name}/infer", infer)])
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--onnx", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    service = Service(args.model, args.onnx, args.device)
    web.run_app(make_app(service), host="127.0.0.1", port=args.port, print=None, access_log=None)


if __name__ == "__main__":
    main()
