"""Scores transactions through a running server: score.py ADDRESS MODEL ROWS.npy

ROWS.npy holds float32 [n, features]. Works against any server of the v2 protocol.
"""

import sys

import numpy as np
import tritonclient.http as triton


def main(address: str, model: str, path: str) -> None:
    rows = np.load(path)
    client = triton.InferenceServerClient(address.removeprefix("http://"))
    metadata = client.get_model_metadata(model)

    x = triton.InferInput(metadata["inputs"][0]["name"], rows.shape, "FP32")
    x.set_data_from_numpy(rows)
    answer = client.infer(model, [x])

    for output in metadata["outputs"]:
        print(output["name"], answer.as_numpy(output["name"]).tolist())


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
