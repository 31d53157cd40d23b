"""Scores transactions over gRPC within a deadline: score_grpc.py ADDRESS MODEL ROWS.npy DEADLINE_MS

ROWS.npy holds float32 [n, features]. The deadline is gRPC's own: the server knows it, runs nothing
that would end after it, and answers DEADLINE_EXCEEDED at once. Exit status 3: no score in time.
"""

import sys

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException


def main(address: str, model: str, path: str, deadline_ms: float) -> int:
    rows = np.load(path)
    # Once a process: a client is a connection, which takes longer to make than a score.
    client = triton.InferenceServerClient(address)
    metadata = client.get_model_metadata(model)

    x = triton.InferInput(metadata.inputs[0].name, rows.shape, "FP32")
    x.set_data_from_numpy(rows)
    try:
        answer = client.infer(model, [x], client_timeout=deadline_ms / 1000)
    except InferenceServerException as error:
        if error.status() != "StatusCode.DEADLINE_EXCEEDED":
            raise
        # Asking again would take longer still: decide without a score.
        print(f"no score within {deadline_ms:g} ms: {error.message()}", file=sys.stderr)
        return 3

    for output in metadata.outputs:
        print(output.name, answer.as_numpy(output.name).tolist())
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:4], float(sys.argv[4])))
