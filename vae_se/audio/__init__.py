"""Audio in and out: files, rates and levels. NumPy only."""
