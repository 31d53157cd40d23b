"""Verdict's laboratory: simulates, trains, exports, and talks to the server."""

# The tensors of every exported model: float_input [N, F], label [N], probabilities [N, 2].
INPUT, LABEL, PROBABILITIES = "float_input", "label", "probabilities"
