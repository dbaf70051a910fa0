"""Bayesian speech enhancement: a VAE trained on clean speech, an NMF noise model, Monte Carlo EM."""

__version__ = "0.1.0"
