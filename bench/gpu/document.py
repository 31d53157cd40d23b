"""docs/gpu.md: fixed prose, and tables of what bench/gpu.py has measured."""

from __future__ import annotations

import re
from collections.abc import Sequence

from comparison.document import markdown_table as table
from comparison.document import number

from . import targets
from .record import machines
from .targets import BATCHES, Cells, bare_case, get

NONE = "–"
FOR_EVER = "4294967295"  # of device.spin_us
MODELS = {
    "R1": "scaler and logistic regression, 30 features", "R2a": "XGBoost, 500 trees of depth 3",
    "R3": "LightGBM, 1,000 trees of 64 leaves", "R4a": "network 286-128-64-1",
    "R4b": "network 100-512-256-128-1", "R5": "ResNeXt-like, 1,024 numbers and 32 embeddings",
    "R6": "LSTM, 7 x 220, two layers of 200", "R7": "GRU, 7 x 220, two layers of 200",
    "R8": "GRU step with its state, 128 + 256",
    "R9": "transformer, 128 events x 32, width 128, 4 layers",
    "R11": "DCN-v2, 26 ids and 13 numbers"}
TREES = ("R2a", "R3")
PRECISIONS = {"fp32": "float32, no TF32", "tf32": "float32 with TF32", "fp16": "float16",
              "int8": "int8, TensorRT's calibrator", "qdq": "int8, explicit Q/DQ of ours"}


ASKED = {"fp32": "float32", "tf32": "float32 with TF32", "fp16": "float16", "int8": "int8",
         "qdq": "int8"}


def _taken(cells: Cells, build: str, precision: str) -> str:
    """Where the build has taken another precision than was asked for."""
    cell = cells.get(build)
    taken = cell.get("taken") if isinstance(cell, dict) else None
    return f" (built as {taken})" if taken and taken != ASKED[precision] else ""


def _known(value: object) -> str:
    """Of what describes a machine."""
    return NONE if value in (None, "unknown") else str(value)


def _us(value: float | None) -> str:
    return NONE if value is None else number(value)


def _pair(cell: object) -> str:
    p50, p99 = (get(cell, name) if isinstance(cell, dict) else None for name in ("p50", "p99"))
    return NONE if p50 is None else f"{_us(p50)} ({_us(p99)})"


def _difference(largest: float | None) -> str:
    return "not a number" if largest is None else f"{largest:.1e}"


def _rows_per_s(cell: object, batch: int) -> str:
    mean = get(cell, "mean") if isinstance(cell, dict) else None
    return NONE if not mean else number(1e6 * batch / mean)


def _kernel_rows(kernels: Cells, model: str) -> list[list[str]]:
    found: list[tuple[str, str, list[object]]] = []
    for precision in ("tf32", "fp16"):
        for key, label in (("enqueue", "TensorRT bare, enqueued"),
                           ("graph", "TensorRT bare, CUDA graph")):
            if targets.bare_is_tf32(kernels, model, precision):
                label += targets.NO_LAYER
            found.append((label, precision, [bare_case(kernels, model, precision, b).get(key)
                                             for b in BATCHES]))
        found.append(("Verdict, on the CPU" if model in TREES else "Verdict on TensorRT", precision,
                      [kernels.get(f"verdict/{model}/{precision}/{b}") for b in BATCHES]))
        taken = _taken(kernels, f"build verdict/{model}/{precision}", precision)
        if taken:
            found[-1] = (found[-1][0] + taken, *found[-1][1:])
    for mode, label in (("eager", "PyTorch, eager"), ("compiled", "PyTorch, torch.compile"),
                        ("graph", "PyTorch, CUDA graph")):
        found.append((label, "tf32", [kernels.get(f"torch {mode}/{model}/{b}") for b in BATCHES]))
    return [[label, "float32" if model in TREES else PRECISIONS[precision], *map(_pair, cells),
             " / ".join(_rows_per_s(cell, b) for cell, b in zip(cells, BATCHES))]
            for label, precision, cells in found
            if any(_pair(cell) != NONE for cell in cells)]


def _kernels(kernels: Cells) -> list[str]:
    lines = [
        "## Kernels", "",
        "p50 (p99) in us of one run after the other: inputs from pinned memory, the run, outputs "
        f"to pinned memory, and the wait for them; {kernels.get('duration_s')} s a cell or more, "
        "by the host's clock. Verdict's runs also copy from and to the caller's memory. Outputs are "
        "compared with ONNX Runtime's on the CPU before anything is timed (float32 with TF32 "
        "products: 2e-3, float16: 1e-2, relative plus absolute). One optimization profile, "
        "1/32/128 rows, for both builders; cuBLAS tactics, no cuDNN. Products of float32 may be "
        "taken in TF32 by all three.",
        "",
        "Engines are built several at a time on the card where they are timed afterwards, so that "
        "their builders' own timings disturb each other: tactics may differ between two runs of "
        "the script.", ""]
    notes = kernels.get("notes")
    if isinstance(notes, dict) and notes:
        lines += [*(f"- {text}." for text in notes.values()), ""]
    lines += ["Trees run on the CPU: TensorRT has none, and one alone leaves nothing for the card.",
              ""]
    for model, what in MODELS.items():
        rows = _kernel_rows(kernels, model)
        if rows:
            lines += [f"### {model}: {what}", "",
                      *table(["", "precision", *(f"batch {b}" for b in BATCHES),
                              f"rows/s at {' / '.join(map(str, BATCHES))}"], rows)]
    return lines


def _streams(kernels: Cells) -> list[str]:
    lines = []
    for kind, what in (("streams", "the same inputs again and again"),
                       ("fed", "inputs written to pinned memory anew before each run, as a server "
                               "has to")):
        rows = []
        for model in MODELS:
            found = [bare_case(kernels, model, "tf32", b).get(kind) or {} for b in BATCHES]
            numbers = sorted({n for streams in found for n in streams}, key=int)
            if len(numbers) > 1:
                rows += [[model, n, *(number(streams[n] * b) if n in streams else NONE
                                      for streams, b in zip(found, BATCHES))] for n in numbers]
        if rows:
            lines += ["Bare CUDA graphs on several streams, each with an engine and a thread of its "
                      f"own, {what}; rows/s:", "",
                      *table(["model", "streams", *(f"batch {b}" for b in BATCHES)], rows)]
    return lines


def _spins(kernels: Cells) -> list[str]:
    rows = [[("the default" if spin is None else "for ever" if spin == FOR_EVER else spin),
             *(_pair(phases.get(name)) for name in ("queue", "compute"))]
            for spin, phases in _phases(kernels)]
    if len(rows) < 2:
        return []
    return ["The same with other values of `device.spin_us`, for how long after a run the worker "
            "watches for the next; p50 (p99) in us:", "",
            *table(["device.spin_us", "queue", "compute"], rows, 1)]


def _bare_runs(kernels: Cells) -> list[str]:
    """What the compute phase is held against, and the same at the requests' pace."""
    bare = targets.bare_case(kernels, "R4b", "tf32", 1)
    hot, spaced = (get(bare, kind, "p50") for kind in ("graph", "spaced"))
    if hot is None or spaced is None:
        return []
    return [f"The bare CUDA graph takes {_us(hot)} us (p50) when one run follows the other, which "
            f"is what the target is held against, and {_us(spaced)} us when 0.8 ms lie between "
            "two and inputs are written anew, as at this load.", ""]


def _has_phases(cell: object) -> bool:
    return isinstance(cell, dict) and "compute" in cell


def _phases(kernels: Cells) -> list[tuple[str | None, dict]]:
    """By device.spin_us; None: the default."""
    found = []
    for cell, value in kernels.items():
        name, _, spin = cell.partition(" spin_us ")
        if name == "served/R4b/phases" and _has_phases(value):
            found.append((spin or None, value))
    return sorted(found, key=lambda item: -1 if item[0] is None else int(item[0]))


def _with(settings: list[str]) -> str:
    return f"with {', '.join(settings)}, " if settings else ""


def _served(kernels: Cells) -> list[str]:
    lines = ["## Served", ""]
    phases = {name: cell for name in targets.STORY
              if _has_phases(cell := kernels.get(f"served/{name}/phases"))}
    if phases:
        lines += [f"{', '.join(phases)} in `verdict serve` with dynamic batching, one request of "
                  "one row at a time over HTTP with binary tensors; the phases as `Server-Timing` "
                  "tells them, p50 (p99) in us:", "",
                  *table(["phase", *phases],
                         [[phase, *(_pair(cell.get(phase)) for cell in phases.values())]
                          for phase in ("parse", "queue", "compute", "serialise", "client")], 1),
                  "`client` is what the client measures, a Python program.", ""]
        lines += _bare_runs(kernels)
        lines += _spins(kernels)
    rows = []
    for batch in BATCHES:
        bare = targets.bare_runs_per_s(kernels, "R9", batch)
        share = targets.served_share(kernels, batch)
        ours = [targets.served_runs_per_s(kernels, p, batch) for p in targets.PROTOCOLS]
        if any(value is not None for value in ours):
            rows.append([str(batch), NONE if bare is None else number(bare * batch),
                         *(NONE if v is None else number(v * batch) for v in ours),
                         NONE if share is None else f"{share:.1f} %"])
    if rows:
        setup = kernels["served/setup"]
        lines += ["R9 served, requests of so many rows each, not batched further, "
                  f"{setup['in_flight']} in flight; rows/s on "
                  f"{_choice(setup['streams'])}, whichever gives more, "
                  f"{_with(setup.get('settings', []))}"
                  "against the most that bare CUDA graphs reach on "
                  f"{_choice(targets.tried_streams(kernels, 'R9'))}:", "",
                  *table(["batch", "bare", "HTTP binary", "gRPC", "HTTP, inputs in shared memory",
                          "best of bare"], rows, 0)]
    return [*lines, *_streams(kernels)] if len(lines) > 2 else []


def _precision(precision: Cells) -> list[str]:
    cases = precision.get("cases")
    if not isinstance(cases, dict):
        return []
    lines = ["## Precision", "",
             "The networks of [precision.md](precision.md), trained by the same code, on the card "
             "transactions and the simulator's stream. Scores of the held-out rows come from "
             "`verdict serve` on the card; lost ROC-AUC and flipped decisions (at a false-positive "
             "rate of 1 %) are against Verdict's float32 on the CPU on the same rows, which is "
             "held to ONNX Runtime's scores (1e-5). Times are `verdict bench`'s, p50 (p99) in us.",
             ""]
    rows = []
    for name, of_case in cases.items():
        for key, label in PRECISIONS.items():
            score = precision.get(f"score/{name}/{key}")
            times = [precision.get(f"time/{name}/{key}/{b}") for b in (1, 32)]
            if get(precision, f"score/{name}/{key}", "auc") is None:
                continue
            label += _taken(precision, f"build/{name}/{key}", key)
            if targets.scores_are_tf32(precision, name, key):
                label += targets.NO_LAYER
            rows.append([name, of_case["what"], label, f"{score['auc_exact']:.5f}",
                         f"{score['auc']:.5f}", f"{score['drop']:z.5f}", str(score["flipped"]),
                         f"{score['rows']:,} / {score['frauds']:,}",
                         _difference(score["largest_difference"]), *map(_pair, times)])
    return [*lines, *table(["model", "", "precision", "ROC-AUC on the CPU", "on the card", "lost",
                            "flipped", "rows / frauds", "largest difference", "batch 1",
                            "batch 32"], rows, 3)]


def _limit(story: Cells, cell: str) -> str:
    rate, none_at = get(story, cell, "per_s"), get(story, cell, "none_at")
    if rate is None and none_at is not None:
        return f"none: over it from {number(none_at)} on"
    return NONE if rate is None else number(rate)


def _not_kept_up(story: Cells) -> list[str]:
    """Where a Python service's latency is its queue's more than its own."""
    lines = []
    for name in targets.STORY:
        if targets.kept_up(story, name):
            continue
        theirs, ours = (get(story, f"story/{name}/{who} light", "per_s")
                        for who in ("python", "verdict"))
        lines += [f"{name}'s Python service answered {number(theirs)} of {number(ours)} requests/s "
                  "at 70 % of its maximum: its latency there is that of a growing queue, and the "
                  "longer the load, the longer.", ""]
    return lines


def _story(story: Cells) -> list[str]:
    precision = PRECISIONS.get(str(story.get("precision")), "float32")
    lines = ["## Against Python services", "",
             "A service as it is usually written: PyTorch eager in float32 on the card, aiohttp, "
             "JSON in and out, one process a model (`bench/peers/torch_server.py`). Against it "
             f"`verdict serve` on TensorRT in {precision}, one "
             "process for all models, dynamic batching with its defaults, the same JSON requests "
             "of one row. `verdict load` asks both: closed loops for the maximum (16 in flight for "
             "Python, 256 for Verdict), Poisson arrivals over up to 256 connections for the rest, "
             "at rates that double until p99 is over 20 ms twice, and two between; latency counts "
             "from the time at which a request was meant to be sent. For the mean latency the "
             "generator is one thread that never sleeps, as its own waking would count too. A load "
             f"takes {story.get('seconds')} s or more; at low rates up to 6 s, which at 20 "
             "requests/s are few for a p99. Up to 1 % of Verdict's answers may be the CPU plan's, while a model "
             "comes to the card. Requests, server and client share the machine's cores.", ""]
    rows = []
    for name in targets.STORY:
        of = {who: {what: get(story, f"story/{name}/{who} {what}", figure) for what, figure in (
            ("closed", "per_s"), ("light", "mean"), ("limit", "per_s"))}
            for who in ("python", "verdict")}
        if of["python"]["closed"] is None and of["verdict"]["closed"] is None:
            continue
        for who, label in (("python", "Python"), ("verdict", "Verdict")):
            light = of[who]["light"]
            rows.append([name, label, *(NONE if of[who][k] is None else number(of[who][k])
                                        for k in ("closed",)),
                         NONE if light is None else number(light / 1000),
                         _limit(story, f"story/{name}/{who} limit")])
    if rows:
        lines += table(["model", "", "maximum/s, closed loop",
                        "mean latency at 70 % of Python's maximum, ms",
                        "requests/s, p99 under 20 ms"], rows)
        lines += _not_kept_up(story)
    memory = [[label.format(name.rsplit(" ", 1)[1]), f"{value:,.0f}"]
              for prefix, label in (("memory/python ", "{} Python services"),
                                    ("memory/verdict ", "{} models in one Verdict process"))
              for name, value in story.items()
              if name.startswith(prefix) and isinstance(value, float)]
    if memory:
        lines += ["Memory of the card above what is in use without them, every model having "
                  "answered requests; R4b, R6 and R9 in turn:", "", *table(["", "MiB"], memory, 1)]
    return lines


def _models(models: Cells) -> list[str]:
    device = models.get("models/devices")
    if not isinstance(device, dict):
        return []
    of, taken = device["models"], get(models, "models/memory_mib")
    answers = models.get("models/answers")
    off = answers if isinstance(answers, dict) else {}
    own = sum(m["memory_bytes"] for m in of) / 2**20
    shared = device.get("memory_shared_bytes")  # not in older files
    lines = ["## Many models in one process", "",
             f"{len(of)} different models in one server: the reference models with TF32 and some in "
             "float16, and others of their kinds in other sizes. What each takes on the card as "
             "`GET /v2/devices` tells it, and how far its answers are off ONNX Runtime's:", "",
             *table(["model", "state", "MiB", "difference"],
                    [[m["name"], m["state"], f"{m['memory_bytes'] / 2**20:,.1f}",
                      f"{off[m['name']]:.1e}" if m["name"] in off else NONE] for m in of], 2),
             (f"Together {own:,.0f} MiB" if shared is None else
              f"Together {own:,.0f} MiB, and {shared / 2**20:,.0f} MiB of scratch that they share: "
              f"{own + shared / 2**20:,.0f} MiB")
             + ("" if taken is None else f"; nvidia-smi sees {taken:,.0f} MiB more in use than "
                "before the server's start, the worker's context among them") + ".", ""]
    figures = models.get("models/figures")
    if isinstance(figures, dict) and "error" not in figures:
        lines += ["The server's figures of the card, from NVML, beside what nvidia-smi said in the "
                  "same moment of a load on R9:", "",
                  *table(["metric", "server", "nvidia-smi", "its field"],
                         [[f"`{name}`", *(NONE if f[k] is None else f"{f[k]:,.4g}"
                                          for k in ("metric", "nvidia_smi")), f["field"]]
                          for name, f in figures.items()], 1)]
    return lines


def _targets(parts: dict[str, Cells], runs: Sequence[dict[str, Cells]]) -> list[str]:
    found = targets.compare(parts)
    header = ["target", "asked", "measured", "outcome"]
    rows = [[t.what, t.asked(), t.figure(), t.outcome()] for t in found]
    of_runs = [t for run in runs for t in targets.compare(run)]
    others = [[o.figure() for o in of_runs
               if o.what == t.what and o.measured not in (None, t.measured)] for t in found]
    if any(others):
        header.append("in other runs")
        rows = [[*row, ", ".join(figures)] for row, figures in zip(rows, others)]
    return ["## Targets", "", *table(header, rows, len(header))]


def _choice(streams: Sequence[int]) -> str:
    if len(streams) < 2:
        return f"{streams[0] if streams else 'no'} stream (more were not measured)"
    return f"{', '.join(map(str, streams[:-1]))} or {streams[-1]} streams"


def without_folders(text: str) -> str:
    """An error of a program without the places where its files lay."""
    return re.sub(r"(?<![\w.])/(?:[\w.-]+/)+", "", text)


def _failures(parts: dict[str, Cells]) -> list[str]:
    found = [f"- {part}, {name}: {without_folders(value['error'].splitlines()[-1])[:200]}"
             for part, cells in parts.items() for name, value in cells.items()
             if isinstance(value, dict) and "error" in value]
    return ["## Left out", "", *found, ""] if found else []


def _of(part: str, machine: dict) -> str:
    return f"{part}: {', '.join(machine['models'])}" if machine.get("models") else part


def write(parts: dict[str, Cells], runs: Sequence[dict[str, Cells]] = ()) -> str:
    """parts: "kernels", "story", "precision" -> the cells of OUT/PART.json; those that were run.
    runs: those of the single runs, where it were several."""
    lines = ["# Verdict on a GPU: figures", "",
             "Written by `bench/gpu.py`; its cells are in [gpu.json](gpu.json)."]
    if any(len(machines(cells)) > 1 for cells in parts.values()):
        lines[-1] += (" Of several runs, each on a card of its own, later cells stand in the place "
                      "of earlier ones, so that the rows of one table may come from two.")
    lines.append("")
    lines += table(
        ["part", "date", "card", "driver", "TensorRT", "PyTorch", "ONNX Runtime", "Verdict",
         "processor"],
        [[_of(part, m), *(_known(m.get(key)) for key in ("date", "card", "driver", "tensorrt",
                                                            "torch", "onnxruntime", "verdict")),
          f"{m.get('processor')}, {m.get('cores')} cores"]
         for part, cells in parts.items() for m in machines(cells)], 9)
    lines += _targets(parts, runs)
    sections = {"story": _story, "kernels": lambda cells: _kernels(cells) + _served(cells),
                "models": _models, "precision": _precision}
    for part, section in sections.items():
        if part in parts:
            lines += section(parts[part])
    lines += _failures(parts)
    text = "\n".join(lines)
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.rstrip() + "\n"
