"""Noise models, one file each; importing this package registers them all."""

from . import dictionary as dictionary
from . import nmf as nmf
from .base import NOISES, NoiseModel

__all__ = ["NOISES", "NoiseModel"]
