"""The modules of bench/serving.py."""
