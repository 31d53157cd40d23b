"""Scores transactions over HTTP, again if need be: score_with_retry.py ADDRESS MODEL ROWS.npy DEADLINE_MS

ROWS.npy holds float32 [n, features] of the input "x". Each attempt tells the server how much of the deadline is
left. What the server could not take at that moment (429, 503, no connection) is asked for again; what came
too late (504) or is wrong (400) is not. A score has no effect, so asking twice does no harm; requests
of a sequence must not be sent twice. Exit status 3: no score in time.
"""

import random
import sys
import time

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

FIRST_PAUSE_S = 0.002


def score(client: triton.InferenceServerClient, model: str, x: triton.InferInput,
          deadline_s: float) -> triton.InferResult:
    """Raises TimeoutError without an answer in time, and what tritonclient raises for the rest."""
    end = time.monotonic() + deadline_s
    pause = FIRST_PAUSE_S
    reason = "the deadline is too short"
    while (left_us := round((end - time.monotonic()) * 1e6)) > 0:
        try:
            return client.infer(model, [x], headers={"Verdict-Deadline-Us": str(left_us)})
        except InferenceServerException as error:
            reason = f"{error.status()}: {error.message()}"
            if error.status() == "504":
                break
            if error.status() not in ("429", "503"):
                raise
        except OSError as error:
            reason = str(error)
        # At random, so that those who were refused together do not come back together.
        time.sleep(min(random.uniform(0, pause), max(0, end - time.monotonic())))
        pause *= 2
    raise TimeoutError(reason)


def main(address: str, model: str, path: str, deadline_ms: float) -> int:
    rows = np.load(path)
    client = triton.InferenceServerClient(address)
    x = triton.InferInput("x", rows.shape, "FP32")
    x.set_data_from_numpy(rows)
    try:
        answer = score(client, model, x, deadline_ms / 1000)
    except TimeoutError as error:
        print(f"no score within {deadline_ms:g} ms: {error}", file=sys.stderr)
        return 3
    for output in answer.get_response()["outputs"]:
        print(output["name"], answer.as_numpy(output["name"]).tolist())
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:4], float(sys.argv[4])))
