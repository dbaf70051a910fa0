"""Amortised inference on noisy input: a network that proposes latents and noise for the model to judge."""

from .network import NoisyEncoder, NoisyEncoding

__all__ = ["NoisyEncoder", "NoisyEncoding"]
