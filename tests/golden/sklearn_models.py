"""Golden models of scikit-learn, LightGBM and XGBoost: skl2onnx and onnxmltools exports."""

from __future__ import annotations

from collections.abc import Iterator

import lightgbm
import numpy as np
import onnxmltools
import pandas
import xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as MlToolsFloat
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    KBinsDiscretizer,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)
from sklearn.tree import DecisionTreeClassifier

from golden_case import Case

FEATURES = 10
TRAIN_ROWS = 600
SCORE_ROWS = 24
OPSET = {"": 17, "ai.onnx.ml": 3}
OLD_OPSET = {"": 11, "ai.onnx.ml": 1}
BOOSTED_OPSET = 15
FLOAT_INPUT = [("x", FloatTensorType([None, FEATURES]))]


class Data:
    """Seeded synthetic transactions: x to train on, rows to score, targets of each kind."""

    def __init__(self, seed: int, missing: bool = False) -> None:
        rng = np.random.default_rng(seed)
        scale = np.geomspace(0.1, 50, FEATURES)
        x = (rng.standard_normal((TRAIN_ROWS + SCORE_ROWS, FEATURES)) * scale).astype(np.float32)
        signal = x[:, 0] / scale[0] + 0.5 * (x[:, 3] / scale[3]) ** 2 - x[:, 7] / scale[7]
        noisy = signal + 0.3 * rng.standard_normal(len(x))
        if missing:
            x[rng.random(x.shape) < 0.15] = np.nan
        self.x, self.rows = x[:TRAIN_ROWS], x[TRAIN_ROWS:]
        noisy = noisy[:TRAIN_ROWS]
        self.amount = noisy
        self.binary = (noisy > 0.5).astype(np.int64)
        self.three = np.digitize(noisy, [-0.5, 1.2]).astype(np.int64)
        self.names = np.array(["decline", "review", "accept"])[self.three]


def score(estimator: object, rows: object) -> np.ndarray:
    """What the library says itself: probabilities of a classifier, values of a regressor."""
    predict = getattr(estimator, "predict_proba", None) or estimator.predict
    return np.asarray(predict(rows))


def sklearn_case(name: str, estimator: object, rows: np.ndarray, opset: dict[str, int],
                 zipmap: bool | None) -> Case:
    """zipmap: None for a model that is not a classifier and takes no such option."""
    options = None if zipmap is None else {id(estimator): {"zipmap": zipmap}}
    model = convert_sklearn(estimator, "golden", FLOAT_INPUT, target_opset=opset, options=options)
    return Case(name, model, {"x": rows}, "skl2onnx", library_score=score(estimator, rows))


def linear_models() -> Iterator[Case]:
    d = Data(1)

    def case(name: str, steps: tuple, target: np.ndarray, zipmap: bool | None = False,
             opset: dict[str, int] | None = None) -> Case:
        fitted = make_pipeline(*steps).fit(d.x, target)
        return sklearn_case(name, fitted, d.rows, opset or OPSET, zipmap)

    logistic = LogisticRegression(max_iter=500)
    yield case("skl_lr_binary", (StandardScaler(), logistic), d.binary)
    yield case("skl_lr_binary_op11", (StandardScaler(), logistic), d.binary, opset=OLD_OPSET)
    yield case("skl_lr_binary_zipmap", (StandardScaler(), logistic), d.binary, zipmap=True)
    yield case("skl_lr_multinomial", (StandardScaler(), logistic), d.three)
    yield case("skl_lr_ovr", (StandardScaler(), OneVsRestClassifier(logistic)), d.three)
    yield case("skl_lr_string_labels", (StandardScaler(), logistic), d.names)
    yield case("skl_lr_string_labels_zipmap", (StandardScaler(), logistic), d.names, zipmap=True)
    yield case("skl_minmax_lr", (MinMaxScaler(clip=True), logistic), d.binary)
    yield case("skl_robust_lr", (RobustScaler(), logistic), d.binary)
    for norm in ("l1", "l2", "max"):
        normalizer = case(f"skl_normalizer_{norm}_lr", (Normalizer(norm), logistic), d.binary)
        if norm == "max":  # ONNX divides by max(x), scikit-learn by max(|x|).
            normalizer.library_score = None
        yield normalizer
    yield case("skl_poly_lr", (StandardScaler(), PolynomialFeatures(2), logistic), d.binary)
    yield case("skl_kbins_lr", (KBinsDiscretizer(4, encode="ordinal"), logistic), d.binary)
    yield case("skl_binarizer_lr", (Binarizer(threshold=0.1), logistic), d.binary)
    yield case("skl_linear_regression", (LinearRegression(),), d.amount, zipmap=None)

    networks = dict(hidden_layer_sizes=(16, 8), max_iter=60, random_state=1)
    yield case("skl_mlp_binary", (StandardScaler(), MLPClassifier(**networks)), d.binary)
    yield case("skl_mlp_3class", (StandardScaler(), MLPClassifier(activation="tanh", **networks)),
               d.three)
    yield case("skl_mlp_regressor", (StandardScaler(), MLPRegressor(**networks)), d.amount,
               zipmap=None)

    gaps = Data(2, missing=True)
    for strategy in ("mean", "constant"):
        fill_value = -1.5 if strategy == "constant" else None
        imputer = SimpleImputer(strategy=strategy, fill_value=fill_value)
        fitted = make_pipeline(imputer, StandardScaler(), logistic).fit(gaps.x, gaps.binary)
        yield sklearn_case(f"skl_imputer_{strategy}_lr", fitted, gaps.rows, OPSET, False)


def categorical_models() -> Iterator[Case]:
    """Several named inputs, strings and integers among them, as a card model gets them."""
    rng = np.random.default_rng(3)
    total = TRAIN_ROWS + SCORE_ROWS
    table = pandas.DataFrame({
        "amount": rng.gamma(2.0, 40.0, total).astype(np.float32),
        "age_days": rng.uniform(0, 3000, total).astype(np.float32),
        "mcc": rng.choice(np.array([4829, 5411, 5812, 5999, 7995]), total),
        "country": rng.choice(np.array(["DE", "FR", "GB", "US", "NG"], object), total),
        "channel": rng.choice(np.array(["chip", "online", "swipe"], object), total),
    })
    fraud = (0.01 * table.amount + 2.0 * (table.country == "NG") + (table.mcc == 7995)
             + rng.standard_normal(total) > 1.8).astype(np.int64)[:TRAIN_ROWS]
    train, score_rows = table[:TRAIN_ROWS], table[TRAIN_ROWS:].copy()
    # Values never seen in training: the encoders must map them to "unknown", not fail.
    score_rows.iloc[0, 2], score_rows.iloc[1, 3], score_rows.iloc[2, 4] = 1234, "ZZ", ""

    def case(name: str, encode_mcc: object, encode_text: object, final: object) -> Case:
        columns = ColumnTransformer([
            ("numeric", StandardScaler(), ["amount", "age_days"]),
            ("mcc", encode_mcc, ["mcc"]),
            ("text", encode_text, ["country", "channel"]),
        ])
        fitted = make_pipeline(columns, final).fit(train, fraud)
        one = [None, 1]
        types = {"amount": FloatTensorType(one), "age_days": FloatTensorType(one),
                 "mcc": Int64TensorType(one), "country": StringTensorType(one),
                 "channel": StringTensorType(one)}
        model = convert_sklearn(fitted, "golden", list(types.items()), target_opset=OPSET,
                                options={id(fitted): {"zipmap": False}})
        inputs = {}
        for column in score_rows.columns:
            values = score_rows[column].to_numpy()
            inputs[column] = (values.astype(str) if column in ("country", "channel")
                              else values)[:, None]
        return Case(name, model, inputs, "skl2onnx", library_score=score(fitted, score_rows))

    def one_hot() -> OneHotEncoder:
        return OneHotEncoder(handle_unknown="ignore")

    def ordinal() -> OrdinalEncoder:
        return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)

    logistic = LogisticRegression(max_iter=500)
    forest = GradientBoostingClassifier(n_estimators=8, max_depth=3, random_state=3)
    yield case("skl_onehot_lr", one_hot(), one_hot(), logistic)
    yield case("skl_ordinal_gb", ordinal(), ordinal(), forest)
    yield case("skl_onehot_ordinal_lr", one_hot(), ordinal(), logistic)


def tree_models() -> Iterator[Case]:
    d, gaps = Data(4), Data(5, missing=True)
    few = dict(n_estimators=8, max_depth=4, random_state=4)
    hist = dict(max_iter=8, max_leaf_nodes=12, random_state=4)

    def case(name: str, estimator: object, data: Data, target: np.ndarray,
             zipmap: bool | None = False, opset: dict[str, int] | None = None) -> Case:
        return sklearn_case(name, estimator.fit(data.x, target), data.rows, opset or OPSET, zipmap)

    yield case("skl_tree_binary", DecisionTreeClassifier(max_depth=5, random_state=4), d, d.binary)
    yield case("skl_rf_binary", RandomForestClassifier(**few), d, d.binary)
    yield case("skl_rf_binary_op11", RandomForestClassifier(**few), d, d.binary, opset=OLD_OPSET)
    yield case("skl_rf_3class", RandomForestClassifier(**few), d, d.three)
    yield case("skl_rf_string_labels", RandomForestClassifier(**few), d, d.names)
    yield case("skl_rf_zipmap", RandomForestClassifier(**few), d, d.three, zipmap=True)
    yield case("skl_rf_regressor", RandomForestRegressor(**few), d, d.amount, zipmap=None)
    yield case("skl_extra_trees_binary", ExtraTreesClassifier(**few), d, d.binary)
    yield case("skl_gb_binary", GradientBoostingClassifier(**few), d, d.binary)
    yield case("skl_gb_3class", GradientBoostingClassifier(**few), d, d.three)
    yield case("skl_gb_regressor", GradientBoostingRegressor(**few), d, d.amount, zipmap=None)
    yield case("skl_hgb_binary_nan", HistGradientBoostingClassifier(**hist), gaps, gaps.binary)
    yield case("skl_hgb_3class_nan", HistGradientBoostingClassifier(**hist), gaps, gaps.three)
    yield case("skl_hgb_regressor_nan", HistGradientBoostingRegressor(**hist), gaps, gaps.amount,
               zipmap=None)
    isolation = IsolationForest(n_estimators=4, max_samples=32, random_state=4).fit(d.x)
    model = convert_sklearn(isolation, "golden", FLOAT_INPUT, target_opset=OPSET)
    yield Case("skl_isolation_forest", model, {"x": d.rows}, "skl2onnx")


def boosted_models() -> Iterator[Case]:
    gaps = Data(6, missing=True)
    inputs = [("x", MlToolsFloat([None, FEATURES]))]
    light = dict(n_estimators=10, num_leaves=12, random_state=6, n_jobs=1, verbose=-1,
                 deterministic=True, force_col_wise=True)
    extreme = dict(n_estimators=10, max_depth=4, random_state=6, n_jobs=1)

    def lgb(name: str, estimator: lightgbm.LGBMModel, target: np.ndarray, zipmap: bool) -> Case:
        fitted = estimator.fit(gaps.x, target)
        model = onnxmltools.convert_lightgbm(fitted, "golden", inputs, target_opset=BOOSTED_OPSET,
                                             zipmap=zipmap)
        return Case(name, model, {"x": gaps.rows}, "onnxmltools lightgbm",
                    library_score=score(fitted, gaps.rows))

    def xgb(name: str, estimator: xgboost.XGBModel, target: np.ndarray) -> Case:
        fitted = estimator.fit(gaps.x, target)
        model = onnxmltools.convert_xgboost(fitted, "golden", inputs, target_opset=BOOSTED_OPSET)
        return Case(name, model, {"x": gaps.rows}, "onnxmltools xgboost",
                    library_score=score(fitted, gaps.rows))

    yield lgb("lgb_binary_nan", lightgbm.LGBMClassifier(**light), gaps.binary, False)
    yield lgb("lgb_binary_zipmap", lightgbm.LGBMClassifier(**light), gaps.binary, True)
    yield lgb("lgb_3class_nan", lightgbm.LGBMClassifier(**light), gaps.three, False)
    yield lgb("lgb_string_labels", lightgbm.LGBMClassifier(**light), gaps.names, False)
    yield lgb("lgb_regressor_nan", lightgbm.LGBMRegressor(**light), gaps.amount, False)
    yield xgb("xgb_binary_nan", xgboost.XGBClassifier(**extreme), gaps.binary)
    yield xgb("xgb_3class_nan", xgboost.XGBClassifier(**extreme), gaps.three)
    yield xgb("xgb_regressor_nan", xgboost.XGBRegressor(**extreme), gaps.amount)
    yield xgb("xgb_rf_regressor_nan", xgboost.XGBRFRegressor(**extreme), gaps.amount)


def cases() -> Iterator[Case]:
    yield from linear_models()
    yield from categorical_models()
    yield from tree_models()
    yield from boosted_models()
