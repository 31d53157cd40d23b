"""What one golden model is, and how its files and its line in models.json are written."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator

import numpy as np
import onnx
import onnxruntime

DEFAULT_TOLERANCE = 1e-5


@dataclasses.dataclass
class Case:
    """A model, the inputs it is run on, and where it came from.

    exporter: the tool and the mode that wrote the model, as printed in models.json.
    tolerance: relative plus absolute, for float outputs; all others must be equal.
    library_score: what the training library itself says for the last output; the export must
        agree, or it is not a golden model.
    external: keep the weights in a file of their own, NAME.data.
    """

    name: str
    model: onnx.ModelProto
    inputs: dict[str, np.ndarray]
    exporter: str
    tolerance: float = DEFAULT_TOLERANCE
    library_score: np.ndarray | None = None
    external: bool = False


def graphs_of(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """The main graph, every graph inside a node (If, Loop, Scan), and function bodies."""
    pending: list = [model.graph, *model.functions]
    while pending:
        graph = pending.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    pending.append(attribute.g)
                pending.extend(attribute.graphs)


def strip(model: onnx.ModelProto) -> None:
    """Removes what differs between two machines or two runs: source paths, stack traces, names."""
    model.doc_string = ""
    opsets = sorted(model.opset_import, key=lambda o: o.domain)
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    del model.metadata_props[:]
    for graph in graphs_of(model):
        graph.doc_string = ""
        del graph.metadata_props[:]
        for node in graph.node:
            node.doc_string = ""
            del node.metadata_props[:]
        if isinstance(graph, onnx.GraphProto):
            for tensor in graph.initializer:
                tensor.doc_string = ""
                del tensor.metadata_props[:]
            for value in (*graph.value_info, *graph.input, *graph.output):
                value.doc_string = ""
                del value.metadata_props[:]


def run(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Runs ONNX Runtime on one thread, unoptimized: the graph as written, nothing fused.

    ZipMap's list of {class: probability} comes back as a matrix, its columns in class order.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    # A string array travels to ONNX Runtime as objects, and is stored as unicode.
    feed = {k: v.astype(object) if v.dtype.kind == "U" else v for k, v in inputs.items()}
    outputs: dict[str, np.ndarray] = {}
    for description, value in zip(session.get_outputs(), session.run(None, feed)):
        if isinstance(value, list):
            classes = sorted(value[0])
            value = np.array([[row[c] for c in classes] for row in value], np.float32)
        elif value.dtype == object:
            value = value.astype(str)
        outputs[description.name] = value
    return outputs


def input_extents(graph: onnx.GraphProto) -> dict[str, list[int | str]]:
    """Input name -> extents; a symbolic one by its name, "?" where it has none.

    Old models list their weights among the inputs; those are left out.
    """
    weights = {t.name for t in graph.initializer}
    return {v.name: [d.dim_value if d.HasField("dim_value") else d.dim_param or "?"
                     for d in v.type.tensor_type.shape.dim]
            for v in graph.input if v.name not in weights}


def write(case: Case, folder: pathlib.Path) -> dict:
    """Checks and runs the model, writes its three files, returns its entry for models.json."""
    strip(case.model)
    onnx.checker.check_model(case.model)
    outputs = run(case.model, case.inputs)
    for name, value in outputs.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ValueError(f"{case.name}: output {name} is not finite")
    if case.library_score is not None:
        exported = list(outputs.values())[-1]
        expected = case.library_score.reshape(exported.shape)
        np.testing.assert_allclose(exported, expected, 1e-4, 1e-5, err_msg=case.name)
    path = folder / f"{case.name}.onnx"
    if case.external:
        data = f"{case.name}.data"
        with contextlib.chdir(folder):  # onnx looks for an old file in the working folder.
            pathlib.Path(data).unlink(missing_ok=True)
            onnx.save(case.model, path.name, save_as_external_data=True, location=data,
                      size_threshold=0)
    else:
        path.write_bytes(case.model.SerializeToString(deterministic=True))
    np.savez_compressed(folder / f"{case.name}.inputs.npz", **case.inputs)
    np.savez_compressed(folder / f"{case.name}.outputs.npz", **outputs)
    shapes = input_extents(case.model.graph)
    # Declared output shapes are not to be trusted: LightGBM's labels claim to be [1].
    # Quantization at run time takes its scale from the whole batch.
    depends_on_batch = any(n.op_type.startswith("DynamicQuantize")
                           for g in graphs_of(case.model) for n in g.node)
    first = {len(tensor) for tensor in (*case.inputs.values(), *outputs.values())}
    return {
        "name": case.name,
        "file": path.name,
        "inputs": f"{case.name}.inputs.npz",
        "outputs": f"{case.name}.outputs.npz",
        "shapes": shapes,
        "rows": (len(first) == 1 and not depends_on_batch
                 and all(isinstance(dims[0], str) for dims in shapes.values())),
        "tolerance": case.tolerance,
        "ops": sorted({n.op_type for g in graphs_of(case.model) for n in g.node}),
        "opset": {o.domain or "ai.onnx": o.version for o in case.model.opset_import},
        "exporter": case.exporter,
    }
