"""Adapters for test sets on the user's disk; nothing is downloaded.

>>> sorted(TESTSETS)
['clean', 'dns-challenge', 'impulsive', 'librimix', 'mixing', 'pairs', 'voicebank-demand', 'wsj0-qut']
"""

from . import clean, dns_challenge, impulsive, librimix, mixing, pairs, voicebank_demand, wsj0_qut  # noqa: F401
from .base import TESTSETS, Adapter, Entry, PairEntry, TestSet

__all__ = ["TESTSETS", "Adapter", "Entry", "PairEntry", "TestSet"]
