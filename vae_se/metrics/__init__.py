"""Objective scores of an estimate against its reference, in this process or in workers; without torch.

>>> sorted(METRICS)[:3]
['cbak', 'covl', 'csig']
"""

from . import bands, bss, composite, dnsmos, intelligibility, perceptual, ratios, segmental  # noqa: F401 - they register
from .base import METRICS, CannotScore, Metric, Pair, Score
from .pool import ScorePool, score
from .scoring import refused

__all__ = ["METRICS", "CannotScore", "Metric", "Pair", "Score", "ScorePool", "refused", "score"]
