"""Speech priors. One file per architecture; importing this package registers them all."""

from . import ffvae as ffvae
from .base import PRIORS, Signal, SpeechPrior
from .posterior import GaussianPosterior
from .store import load_prior, save_prior

__all__ = ["PRIORS", "GaussianPosterior", "Signal", "SpeechPrior", "load_prior", "save_prior"]
