"""Trained models to ONNX: input float_input [N, F], outputs label [N] and probabilities [N, 2]."""

import re
import warnings

import lightgbm
import numpy as np
import onnx
from sklearn.pipeline import Pipeline

from . import INPUT

OPSET = 15  # the newest that onnxmltools writes


def to_onnx(model: Pipeline | lightgbm.Booster, name: str, num_features: int) -> onnx.ModelProto:
    """Converts with skl2onnx or onnxmltools; ZipMap, a list of dictionaries, is left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converters' own deprecations
        if isinstance(model, lightgbm.Booster):
            from onnxmltools.convert import convert_lightgbm
            from onnxmltools.convert.common.data_types import FloatTensorType

            return convert_lightgbm(
                with_float32_thresholds(model),
                name=name,
                initial_types=[(INPUT, FloatTensorType([None, num_features]))],
                target_opset=OPSET,
                zipmap=False,
            )
        from skl2onnx import convert_sklearn
        from skl2onnx.common.data_types import FloatTensorType

        return convert_sklearn(
            model,
            name=name,
            initial_types=[(INPUT, FloatTensorType([None, num_features]))],
            target_opset=OPSET,
            options={"zipmap": False},
        )


def with_float32_thresholds(booster: lightgbm.Booster) -> lightgbm.Booster:
    """The same trees for float32 inputs, with thresholds that float32 can hold.

    LightGBM compares x <= t in double precision; ONNX holds t as float32. Rounding t to the nearest
    could move it across an x; the largest float32 that is not above t sends every float32 x to the
    same leaf.
    """

    def rounded(line: re.Match[str]) -> str:
        exact = np.array(line[1].split(), np.float64)
        single = exact.astype(np.float32)
        above = single.astype(np.float64) > exact
        single[above] = np.nextafter(single[above], np.float32(-np.inf))
        return "threshold=" + " ".join(repr(float(t)) for t in single)

    text = re.sub(r"^threshold=(.+)$", rounded, booster.model_to_string(), flags=re.MULTILINE)
    # The header lists each tree's length in characters, which has changed; it is optional.
    text = re.sub(r"^tree_sizes=.*\n", "", text, flags=re.MULTILINE)
    return lightgbm.Booster(model_str=text)
