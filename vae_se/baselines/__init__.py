"""Baselines: established methods to compare with, each from waveform to waveform; NumPy and SciPy only.

>>> "log-mmse" in BASELINES
True
"""

from ..noise.tracking import minimum_statistics, mmse_tracker
from . import extras, log_mmse, nmf, om_lsa, oracle, spectral_subtraction, wiener_dd  # noqa: F401 - they register
from .base import BASELINES, Baseline, MissingPackage
from .imcra import imcra

__all__ = ["BASELINES", "Baseline", "MissingPackage", "imcra", "minimum_statistics", "mmse_tracker"]
