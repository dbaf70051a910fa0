"""Scores of an estimate against its reference: NumPy and SciPy only, in this process or in workers.

>>> sorted(METRICS)[:3]
['cbak', 'covl', 'csig']
"""

from . import bss, composite, dnsmos, intelligibility, perceptual, ratios, segmental  # noqa: F401 - they register
from .base import METRICS, CannotScore, Metric, Pair, Score
from .pool import ScorePool
from .scoring import refused, score

__all__ = ["METRICS", "CannotScore", "Metric", "Pair", "Score", "ScorePool", "refused", "score"]
