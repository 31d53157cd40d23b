#!/usr/bin/env python3
"""Writes thresholds_golden.txt: histograms, and the thresholds that numpy finds for them.

An implementation of its own, from the descriptions: Migacz, "8-bit Inference with TensorRT" (entropy),
NVIDIA's pytorch-quantization (its first bin), and the definitions of a percentile and of a squared error.

Usage: thresholds_golden.py > thresholds_golden.txt
"""

import numpy as np

BINS = 2048
LEVELS = 128


def entropy(histogram: np.ndarray, amax: float) -> float:
    histogram = histogram.copy()
    histogram[0] = histogram[1]  # NVIDIA's pytorch-quantization: zeros say nothing
    best, least = BINS, np.inf
    for i in range(LEVELS, BINS + 1):
        reference = histogram[:i].astype(float)
        if reference.sum() == 0:
            continue
        candidate = np.zeros(i)
        p = reference.copy()
        p[i - 1] += histogram[i:].sum()
        edges = [level * i // LEVELS for level in range(LEVELS + 1)]
        for begin, end in zip(edges, edges[1:]):
            filled = p[begin:end] > 0
            if filled.any():
                candidate[begin:end][filled] = reference[begin:end].sum() / filled.sum()
        p /= p.sum()
        q = candidate / reference.sum()
        used = p > 0
        if (q[used] == 0).any():
            continue
        divergence = float(np.sum(p[used] * np.log(p[used] / q[used])))
        if divergence < least:
            best, least = i, divergence
    return min(amax, (best + 0.5) * amax / BINS)


def percentile(histogram: np.ndarray, amax: float, percent: float) -> float:
    below = np.cumsum(histogram)
    return (int(np.searchsorted(below, below[-1] * percent / 100)) + 1) * amax / BINS


def mse(histogram: np.ndarray, amax: float) -> float:
    centres = (np.arange(BINS) + 0.5) * amax / BINS
    errors = []
    for i in range(1, BINS + 1):
        scale = i * amax / BINS / (LEVELS - 1)
        kept = scale * np.minimum(np.rint(centres / scale), LEVELS - 1)
        errors.append(float(np.sum(histogram * (centres - kept) ** 2)))
    return (int(np.argmin(errors)) + 1) * amax / BINS


def main() -> None:
    random = np.random.default_rng(1)
    samples = {
        "normal": random.normal(size=20_000),
        "heavy-tail": random.standard_t(2.5, size=20_000),
        "relu": np.maximum(random.normal(-1, 1, size=20_000), 0),
        "exponential": random.exponential(size=5_000),
        "two-hills": np.concatenate([random.normal(1, 0.1, 3_000), random.normal(9, 0.3, 40)]),
        "sparse": random.choice([0.5, 1.0, 7.25, 30.0], size=500, p=[0.6, 0.3, 0.09, 0.01]),
        "one-outlier": np.append(random.normal(size=2_000), 1_000.0),
    }
    for name, values in samples.items():
        size = np.abs(values).astype(np.float32)
        amax = float(size.max())
        bins = np.minimum((size.astype(float) * (BINS / amax)).astype(int), BINS - 1)
        histogram = np.bincount(bins, minlength=BINS)
        filled = np.flatnonzero(histogram)
        print(name, repr(amax), repr(entropy(histogram, amax)),
              *(repr(percentile(histogram, amax, p)) for p in (99.9, 99.99, 99.999)),
              repr(mse(histogram, amax)), len(filled),
              *(f"{i}:{histogram[i]}" for i in filled))


if __name__ == "__main__":
    main()
