"""The modules of bench/gpu.py."""
