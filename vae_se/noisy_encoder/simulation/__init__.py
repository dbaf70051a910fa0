"""Simulated noise for the training of noisy encoders: no recording of noise is used.

``classes.py`` names the classes, ``pool.py`` keeps draws on disk, ``model_noise.py`` draws from the noise
model itself.
"""

from .model_noise import draw_noise

__all__ = ["draw_noise"]
