"""Reference models that are trained: logistic regression, XGBoost, LightGBM, on synthetic data."""

from __future__ import annotations

import numpy as np
import onnx

# The trees' operators have not changed since; newer onnxmltools targets add nothing to them.
TREE_OPSET = 15


def transactions(rows: int, features: int, missing: float) -> tuple[np.ndarray, np.ndarray]:
    """Seeded features of mixed scale, some missing, and a label that needs many of them.

    Returns: float32 [rows, features], int64 [rows] with about 8 % ones.
    """
    rng = np.random.default_rng(features)
    x = rng.standard_normal((rows, features)).astype(np.float32)
    x[:, ::3] = np.exp(x[:, ::3])  # Amounts and counts are skewed.
    weight = rng.standard_normal(features) / np.sqrt(features)
    left, right = rng.integers(0, features, (2, 64))
    signal = x @ weight + (x[:, left] * x[:, right]).sum(axis=1) / 16
    signal += 0.5 * rng.standard_normal(rows)
    y = (signal > np.quantile(signal, 0.92)).astype(np.int64)
    if missing:
        x[rng.random(x.shape) < missing] = np.nan
    return x, y


def logistic_regression() -> onnx.ModelProto:
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = transactions(20_000, 30, missing=0)
    fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(x, y)
    model = convert_sklearn(fitted, "R1", [("x", FloatTensorType([None, 30]))],
                            target_opset={"": 17, "ai.onnx.ml": 3},
                            options={id(fitted): {"zipmap": False}})
    return with_symbolic_batch(model)


def xgboost_model(trees: int, depth: int, rows: int) -> onnx.ModelProto:
    import onnxmltools
    import xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    x, y = transactions(rows, 400, missing=0.1)
    fitted = xgboost.XGBClassifier(n_estimators=trees, max_depth=depth, learning_rate=0.05,
                                   min_child_weight=0, random_state=0, n_jobs=1).fit(x, y)
    model = onnxmltools.convert_xgboost(fitted, "R2", [("x", FloatTensorType([None, 400]))],
                                        target_opset=TREE_OPSET)
    return with_symbolic_batch(model)


def lightgbm_model() -> onnx.ModelProto:
    import lightgbm
    import onnxmltools
    from onnxmltools.convert.common.data_types import FloatTensorType

    x, y = transactions(30_000, 200, missing=0.05)
    fitted = lightgbm.LGBMClassifier(n_estimators=1_000, num_leaves=64, learning_rate=0.02,
                                     min_child_samples=5, random_state=0, n_jobs=1,
                                     deterministic=True, force_col_wise=True, verbose=-1).fit(x, y)
    model = onnxmltools.convert_lightgbm(fitted, "R3", [("x", FloatTensorType([None, 200]))],
                                         target_opset=TREE_OPSET, zipmap=False)
    return with_symbolic_batch(model)


def with_symbolic_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """Names the first dimension of every input and output "batch"; converters leave it blank."""
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model
