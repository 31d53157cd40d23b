"""The modules of bench/precision.py."""
