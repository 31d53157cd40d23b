"""Scores transactions one by one on a gRPC stream: score_stream.py ADDRESS MODEL ROWS.npy

ROWS.npy holds float32 [n, features]. On a stream a request costs less than a call of its own, and
several may be under way; an error is the answer to one request and leaves the stream open.
"""

import queue
import sys

import numpy as np
import tritonclient.grpc as triton

TIMEOUT_US = 100_000  # of one request: a stream has no deadline, its requests have
PATIENCE_S = 10


def main(address: str, model: str, path: str) -> None:
    rows = np.load(path)
    client = triton.InferenceServerClient(address)
    name = client.get_model_metadata(model).inputs[0].name

    answers: queue.Queue = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for number, row in enumerate(rows):
        x = triton.InferInput(name, [1, *row.shape], "FP32")
        x.set_data_from_numpy(row[np.newaxis])
        client.async_stream_infer(model, [x], request_id=str(number), timeout=TIMEOUT_US)
    for _ in rows:
        result, error = answers.get(timeout=PATIENCE_S)
        if error is not None:
            print(f"error: {error}", file=sys.stderr)
            continue
        response = result.get_response()
        for output in response.outputs:
            print(response.id, output.name, result.as_numpy(output.name).tolist())
    client.stop_stream()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
