"""Writes docs/serving.md from a run's results."""

from __future__ import annotations

import statistics

from comparison import measuring, noise, targets
from comparison.servers import PROTOCOLS

MODELS = {"R1": "scaler and logistic regression, 30 features",
          "R4b": "network 100-512-256-128-1",
          "R6": "LSTM, 7 steps of 220 features, two layers of 200"}
PLOT = "images/serving-cpu.svg"


def number(value: float) -> str:
    """Three significant digits, thousands with commas."""
    if value >= 1000:
        digits = len(str(int(value))) - 3
        return f"{round(value, -digits):,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def milliseconds(value_us: float) -> str:
    return number(value_us / 1000)


class _Cells:
    def __init__(self, placement: dict) -> None:
        self._cells = {(c["peer"], c["protocol"], c["model"], c["load"]): c
                       for c in placement["cells"]}
        self.loads = sorted({c["load"] for c in placement["cells"]},
                            key=lambda load: (load.split()[0], int(load.split()[1])))

    def rows(self, model: str) -> list[tuple[str, str]]:
        return list(dict.fromkeys((p, protocol) for p, protocol, m, _ in self._cells if m == model))

    def get(self, row: tuple[str, str], model: str, load: str) -> dict | None:
        return self._cells.get((*row, model, load))

    def series(self, row: tuple[str, str], model: str, loads: list[str], figure: str) -> str:
        """One figure for each load: '1 / 2 / 3'."""
        texts = []
        for load in loads:
            cell = self.get(row, model, load)
            if cell is None:
                texts.append("–")
            elif figure == "throughput":
                texts.append(number(cell[figure]) + ("†" if cell["client_bound"] >= 0.5 else ""))
            else:
                texts.append(milliseconds(cell[figure]) + ("‡" if cell["late"] >= 0.5 else ""))
        return " / ".join(texts)


def markdown_table(head: list[str], rows: list[list[str]], texts: int = 2) -> list[str]:
    """texts: so many columns are aligned to the left."""
    align = [" --- "] * texts + [" ---: "] * (len(head) - texts)
    return ["| " + " | ".join(head) + " |", "|" + "|".join(align) + "|",
            *("| " + " | ".join(row) + " |" for row in rows), ""]


def _numbers(loads: list[str]) -> str:
    return " / ".join(load.split()[1] for load in loads)


def _model_tables(cells: _Cells, model: str, maxima: dict) -> list[str]:
    closed = [load for load in cells.loads if load.startswith("closed")]
    opened = [load for load in cells.loads if load.startswith("open")]
    lines = [f"Closed loop, {_numbers(closed)} connections; times in ms; CPU of the server in us a "
             f"request at {closed[-1].split()[1]} connections:", ""]
    table = []
    for row in cells.rows(model):
        last = cells.get(row, model, closed[-1])
        cpu = (f"{last['user'] + last['kernel']:.1f} = {last['user']:.1f} + {last['kernel']:.1f}"
               if last else "–")
        table.append([row[0], PROTOCOLS[row[1]], cells.series(row, model, closed, "throughput"),
                      *(cells.series(row, model, closed, f) for f in ("p50", "p99", "p999")), cpu])
    lines += markdown_table(["server", "protocol", "requests/s", "p50", "p99", "p99.9",
                             "CPU = user + kernel"], table)
    lines += [f"Open loop, Poisson arrivals at {_numbers(opened)} % of each one's own maximum; ms "
              "from the time a request was meant to be sent:", ""]
    table = [[row[0], PROTOCOLS[row[1]], number(maxima[(*row, model)]),
              *(cells.series(row, model, opened, f) for f in ("p50", "p99", "p999"))]
             for row in cells.rows(model) if (*row, model) in maxima]
    return lines + markdown_table(["server", "protocol", "maximum/s", "p50", "p99", "p99.9"],
                                  table)


def _goodput(placement: dict, model: str) -> list[str]:
    rows = [entry for entry in placement.get("goodput", []) if entry[2] == model]
    if not rows:
        return []
    table = [[peer, PROTOCOLS[protocol], number(rate), number(once), number(twice),
              f"{100 * twice / once:.0f} %"] for peer, protocol, _, rate, once, twice in rows]
    return [f"Goodput, answers within {measuring.GOODPUT_DEADLINE_US / 1000:g} ms of the intended "
            f"time: at the rate that a server sustains ({100 * measuring.SUSTAINED_SHARE:g} % in "
            "time) and at twice that. What is left of the time goes along with each request; "
            "over HTTP only Verdict takes notice.", "",
            *markdown_table(["server", "protocol", "sustained/s", "goodput/s",
                             "at twice the rate", "of it"], table)]


def _noise(placement: dict) -> list[str]:
    found = placement["noise"]
    share = statistics.median(of_turn["share"] for of_turn in found)
    return [f"Noise of the machine: a process that only spins on each of the cores, before each turn "
            f"of the open loops, lost {100 * share:.2f} % of its time (median; at most "
            f"{100 * max(of_turn['share'] for of_turn in found):.2f} %) in gaps over "
            f"{1e6 * noise.GAP_S:.0f} us, the longest "
            f"{max(of_turn['longest_ms'] for of_turn in found):.1f} ms. Such gaps of the server's "
            "core and of the client's are in every row's p99 and p99.9."]


def _placement(title: str, text: str, placement: dict, models: list[str]) -> list[str]:
    cells = _Cells(placement)
    maxima = {tuple(entry[:3]): entry[3] for entry in placement["maxima"]}
    lines = [f"## {title}", "", text, "", *_noise(placement), ""]
    for model in models:
        lines += [f"### {model}: {MODELS[model]}", "", *_model_tables(cells, model, maxima),
                  *_goodput(placement, model)]
    for title, entries in (("Left out:", placement["failures"]),
                           ("Measured at a second try:", placement["second_tries"])):
        if entries:
            lines += [title, ""]
            lines += [f"- {peer}, {PROTOCOLS[protocol]}, {model}: {why.splitlines()[0]}"
                      for peer, protocol, model, why in entries] + [""]
    return lines


def _targets(results: dict) -> list[str]:
    lines = ["## Targets", "",
             "Measured with the server on one core. CPU is the server's, user and kernel, at 64 "
             "connections.", ""]
    table = [[t.what, f"at most {t.limit:.4g} {t.unit}",
              "–" if t.measured is None else f"{t.measured:,.1f} {t.unit}", t.outcome()]
             for t in targets.compare(results)]
    return lines + markdown_table(["target", "limit", "measured", "outcome"], table, texts=4)


def _starts(results: dict) -> list[str]:
    loaded = results["pinned"]["loaded_mib"]
    lines = ["## Memory and time to ready", "",
             "Ten copies of R1: from starting the process to all of them ready, and the memory "
             "half a second later (proportional set size of all its processes). After the load: "
             "the memory with one model, at the end of its measuring.", ""]
    table = [[s["peer"], number(s["ready_ms"]), number(s["idle_mib"]),
              *(number(loaded[m][s["peer"]]) if s["peer"] in loaded[m] else "–" for m in loaded)]
             for s in results["starts"]]
    return lines + markdown_table(["server", "ready, ms", "idle, MiB",
                           *(f"after {m}, MiB" for m in loaded)], table, texts=1)


def write(results: dict) -> str:
    machine = results["machine"]
    extent = results["extent"]
    models = [m for m in MODELS if m in extent["models"]]
    lines = [
        "# Serving: figures", "",
        "Written by `bench/serving.py`, which measures all servers side by side in one run on one "
        "machine. Each cell is the median of "
        f"{extent['repeats']} turn(s) of {extent['closed_s']:g} s (closed loop) or "
        f"{extent['open_s']:g} s (open loop); the servers take turns in each, so that noise hits "
        "all alike, and all but the one under load are stopped (SIGSTOP). Before anything is timed, each answer is compared with ONNX Runtime's (1e-5). "
        "`verdict load` is the client of all of them; requests hold one row. CPU time is the "
        "kernel's accounting of the server's whole process tree, divided by the answers.", "",
        f"Machine: {machine['processor']}, {machine['cpus']} cores. "
        f"{results['date']}.", "",
        "| server | what it is | version |", "| --- | --- | --- |",
        *(f"| {p['name']} | {p['what']} | {p['version']} |" for p in results["peers"]), ""]
    if results["absent"]:
        lines += [*(f"- {name} is missing: {why}" for name, why in results["absent"].items()), ""]
    lines += [
        "Triton comes from the package `nvidia-pytriton`, whose binary has no ONNX Runtime "
        "backend; `bench/peers/triton/` has one in C++, and a model for its Python backend. "
        "FastAPI has as many workers, and Triton as many instances a model and threads for HTTP, "
        "as there are cores for the server; MLServer, slower with workers, has none. "
        "† marks a throughput that the client limited: it was busy while the server had time to "
        "spare; there the CPU time decides. ‡ marks times to which the client added, by sending "
        "late.", ""]
    if "serving-cpu.svg" in results["plots"]:
        lines += [f"![CPU a request, R1]({PLOT})", ""]
    lines += _targets(results) + _starts(results)
    lines += _placement("Server on one core, load on the other", "", results["pinned"], models)
    if "unpinned" in results:
        lines += _placement("Unpinned", "Servers and load share all cores, as the kernel decides. One turn.",
                            results["unpinned"], models)
    text = "\n".join(lines)
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.rstrip() + "\n"
