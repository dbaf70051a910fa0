"""A convolutional noisy encoder on a stream: layers remember the past, on tensors without a batch."""

from __future__ import annotations

import torch
from torch.nn import functional

from ..numerics import LOG_VARIANCE_MAX, LOG_VARIANCE_MIN, POWER_FLOOR
from ..priors.posterior import GaussianPosterior
from .convolutional import DEVIATION_RANGE, LATENT_RANGE, MASK_RANGE, ConvolutionalNoisyEncoder
from .network import NoisyEncoding
from .past import MEAN_FRAMES


class ConvolutionalStream:
    """Runs ``encoder`` on the last ``revised`` frames for every block; layers keep what they had before these.

    A causal network computes every frame once: ``revised`` has no effect, and the result is that of the network
    on the recording, up to rounding, as long as the recording is no longer than
    :data:`~vae_se.noisy_encoder.past.MEAN_FRAMES`. A two-way network sees the end of the stream as the end of a
    recording. It computes the last ``revised`` frames again; in earlier frames its layers keep the values that
    they had when the frames left that window. The mean spectrum is that of the stream so far.

    A block of a few frames has little arithmetic, so what counts is the number of operations: there are no
    masks, and layers keep their input in one piece. ``tail``: frames that :meth:`push` returns.
    """

    def __init__(self, encoder: ConvolutionalNoisyEncoder, tail: int, revised: int = 0) -> None:
        self._encoder, self._tail = encoder, tail
        self._revised = 0 if encoder.causal else max(revised, tail)
        narrow = encoder.narrow
        self._wide = encoder.bands[narrow:, narrow:].T.contiguous()
        self._blocks = list(encoder.time_blocks())
        self._kept: dict[str, torch.Tensor] = {}  # inputs of layers: the past, then the frames of the window
        self._frames = 0  # of the window
        self._sum, self._count = torch.zeros(1, encoder.bins, device=encoder.log_power_mean.device), 0.0
        self._before: NoisyEncoding | None = None

    def push(self, power: torch.Tensor) -> NoisyEncoding:
        """Take the next frames, ``power`` (1, n, F) at the prior's level; the encoding of the last ``tail``."""
        new = self._encode(power[0])
        joined = new if self._before is None or self._revised else self._before.followed_by(new)
        self._before = joined.frames(slice(-self._tail, None))
        return self._before

    def _encode(self, power: torch.Tensor) -> NoisyEncoding:
        """The encoding of the window that ends with the frames ``power`` (n, F); compare
        ConvolutionalNoisyEncoder.forward."""
        net, new = self._encoder, torch.log(power + POWER_FLOOR)
        self._leaving = self._frames + (len(new) - self._revised if self._revised else 0)
        log_power = self._window_of("log power", new)
        self._frames = n = len(log_power)
        standard = (log_power - net.log_power_mean) / net.log_power_std
        mean = self._mean(standard[n - len(new) :])
        band, band_mean = self._to_bands(torch.cat([standard, mean])).split([n, len(mean)])
        image = torch.stack([band, band - band_mean]).unsqueeze(0)
        low = functional.silu(net.down1(self._with_context("image", image, 1, 2)))
        deep = functional.silu(net.down2(self._with_context("low", low, 1, 2)))
        hidden = net.enter(deep[0].transpose(0, 1).flatten(1)) + net.enter_mean(band_mean)
        hidden = net.leave(self._over_time(hidden))
        latent_mean, log_variance, _ = net.speech(hidden).chunk(3, -1)
        back = net.up0(hidden).unflatten(-1, (net.channels, net.positions)).transpose(0, 1).unsqueeze(0)
        back = functional.silu(net.up1(torch.cat([back, deep], 1)))
        maps = net.up2(torch.cat([back, low], 1))[0]
        maps[0].sigmoid_()
        maps[1].clamp_(*MASK_RANGE)
        gate, share, departure, level, slope = maps.index_select(-1, net.band_of)
        steady = net.log_power_mean + net.log_power_std * (mean + departure)
        log_noise = torch.lerp(steady, log_power + share, gate)
        within_band = log_power - self._to_bands(log_power).index_select(-1, net.band_of)
        return NoisyEncoding(
            GaussianPosterior(latent_mean.unsqueeze(0), log_variance.clamp(*LATENT_RANGE).unsqueeze(0)),
            log_noise.clamp_(LOG_VARIANCE_MIN, LOG_VARIANCE_MAX).unsqueeze(0),
            (level + slope * within_band).clamp_(*DEVIATION_RANGE).unsqueeze(0),
        )

    def _over_time(self, hidden: torch.Tensor) -> torch.Tensor:
        """The residual blocks on the window (n, width)."""
        n, width = hidden.shape
        for number, block in enumerate(self._blocks):
            norm, taps, mix, d = block.norm, block.taps, block.mix, block.dilation
            seen = functional.layer_norm(hidden, (width,), norm.weight, norm.bias)
            seen = self._with_context(f"block {number}", seen, d, 0)
            # Row k holds the frames k, k + d and k + 2 d, one after the other.
            three = seen.as_strided((n, 3, width), (width, d * width, 1)).reshape(n, 3 * width)
            changed = functional.silu(functional.linear(three, taps.weight, taps.bias))
            hidden = hidden + functional.linear(changed, mix.weight, mix.bias)
        return hidden

    def _window_of(self, key: str, new: torch.Tensor) -> torch.Tensor:
        """The values of the frames of the window, given those of the ``new`` ones (n, F)."""
        if not self._revised:
            return new
        before = self._kept.get(key, new[:0])
        self._kept[key] = joined = torch.cat([before[max(0, self._leaving) :], new])
        return joined

    def _with_context(self, key: str, values: torch.Tensor, reach: int, dim: int) -> torch.Tensor:
        """``values`` of the window with the frames along ``dim`` that a kernel of three, ``reach`` frames apart,
        needs beside them: the past, and zeros after the last frame if the network is two-way."""
        past, after = (reach, reach) if self._revised else (2 * reach, 0)
        shape = list(values.shape)
        shape[dim] = past
        kept = self._kept.get(key)
        before = values.new_zeros(shape) if kept is None else kept.narrow(dim, max(0, self._leaving), past)
        parts = [before, values, values.new_zeros(shape)] if after else [before, values]
        self._kept[key] = joined = torch.cat(parts, dim)
        return joined

    def _mean(self, standard: torch.Tensor) -> torch.Tensor:
        """The mean of the stream up to each of the next frames (n, F); up to the last of them, (1, F), for a
        two-way network."""
        n = len(standard)
        sums = self._sum + (standard.sum(0, keepdim=True) if self._revised else standard.cumsum(0))
        counts = self._count + torch.arange(n + 1 - len(sums), n + 1, device=sums.device).unsqueeze(1)
        keep = min(1.0, MEAN_FRAMES / (self._count + n))
        self._sum, self._count = sums[-1:] * keep, (self._count + n) * keep
        return sums / counts

    def _to_bands(self, values: torch.Tensor) -> torch.Tensor:
        """Mean of ``values`` (n, F) over the bins of each band."""
        narrow = self._encoder.narrow
        return torch.cat([values[:, :narrow], values[:, narrow:] @ self._wide], 1)
