"""A custom MLServer runtime: ONNX Runtime on one thread, arrays through MLServer's own codec."""

from __future__ import annotations

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse, MetadataTensor

DATATYPES = {"tensor(float)": "FP32", "tensor(int64)": "INT64"}


def describe(values: list) -> list[MetadataTensor]:
    return [MetadataTensor(name=v.name, datatype=DATATYPES[v.type],
                           shape=[d if isinstance(d, int) else -1 for d in v.shape])
            for v in values]


class OnnxRuntime(MLModel):
    """Runs the .onnx file that the model's settings name as its URI."""

    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            self.settings.parameters.uri, options, providers=["CPUExecutionProvider"])
        self._names = [output.name for output in self._session.get_outputs()]
        self.inputs = describe(self._session.get_inputs())
        self.outputs = describe(self._session.get_outputs())
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        feed = {value.name: NumpyCodec.decode_input(value).reshape(value.shape)
                for value in payload.inputs}
        outputs = [NumpyCodec.encode_output(name, value)
                   for name, value in zip(self._names, self._session.run(None, feed))]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)
