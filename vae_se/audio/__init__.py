"""Audio files, sampling rates and levels. NumPy only."""
