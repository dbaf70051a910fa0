"""Noise models, one file each. Importing this package registers them all in :data:`NOISES`."""

from . import alpha_stable as alpha_stable
from . import dictionary as dictionary
from . import impulsive as impulsive
from . import nmf as nmf
from . import stationary as stationary
from . import student_t as student_t
from .base import NOISES, NoiseModel, NoiseState

__all__ = ["NOISES", "NoiseModel", "NoiseState"]
