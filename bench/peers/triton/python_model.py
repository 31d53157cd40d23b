"""A model for Triton's Python backend: ONNX Runtime on one thread, a batch as one run."""

from __future__ import annotations

import os
import pathlib
import sys

import numpy as np

sys.path.append(os.environ["BENCH_PACKAGES"])  # Triton starts its Python processes without it

import onnxruntime
import triton_python_backend_utils as triton


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        path = pathlib.Path(args["model_repository"], args["model_version"], "model.onnx")
        self._session = onnxruntime.InferenceSession(str(path), options,
                                                     providers=["CPUExecutionProvider"])
        self._inputs = [value.name for value in self._session.get_inputs()]
        self._outputs = [value.name for value in self._session.get_outputs()]

    def execute(self, requests: list) -> list:
        feeds = [{name: triton.get_input_tensor_by_name(request, name).as_numpy()
                  for name in self._inputs} for request in requests]
        feed = feeds[0]
        if len(feeds) > 1:
            feed = {name: np.concatenate([f[name] for f in feeds]) for name in self._inputs}
        values = self._session.run(None, feed)
        responses = []
        first = 0
        for one in feeds:
            end = first + len(one[self._inputs[0]])
            responses.append(triton.InferenceResponse(
                [triton.Tensor(name, value[first:end])
                 for name, value in zip(self._outputs, values)]))
            first = end
        return responses
