"""The noisy encoder: a network from a noisy recording to a posterior of the latents and a noise variance."""

from .network import NoisyEncoder, NoisyEncoding

__all__ = ["NoisyEncoder", "NoisyEncoding"]
