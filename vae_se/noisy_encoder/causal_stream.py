"""A causal convolutional noisy encoder on a stream: every frame is computed once, on tensors without a batch."""

from __future__ import annotations

import torch
from torch.nn import functional

from ..numerics import LOG_VARIANCE_MAX, LOG_VARIANCE_MIN, POWER_FLOOR
from ..priors.posterior import GaussianPosterior
from .convolutional import DEVIATION_RANGE, LATENT_RANGE, MASK_RANGE, ConvolutionalNoisyEncoder
from .network import NoisyEncoding
from .past import MEAN_FRAMES


class CausalStream:
    """Runs a causal ``encoder`` on the new frames alone; its layers keep the frames that they look back at.

    The result is that of the network on the recording, up to rounding, as long as the recording is no longer
    than :data:`~vae_se.noisy_encoder.past.MEAN_FRAMES`. A block of one or two frames has little arithmetic, so
    what counts is the number of operations: there are no masks, and layers are called as functions.

    ``tail``: frames that :meth:`push` returns.
    """

    def __init__(self, encoder: ConvolutionalNoisyEncoder, tail: int) -> None:
        self._encoder, self._tail = encoder, tail
        device = encoder.log_power_mean.device
        narrow, width, channels = encoder.narrow, encoder.width, encoder.channels
        self._wide = encoder.bands[narrow:, narrow:].T.contiguous()
        bands = len(encoder.bands)
        self._image = torch.zeros(1, 2, 2, bands, device=device)
        self._low = torch.zeros(1, channels, 2, bands // 4, device=device)
        self._blocks = [
            (block.dilation, block.norm, block.taps, block.mix, torch.zeros(2 * block.dilation, width, device=device))
            for block in encoder.time_blocks()
        ]  # fmt: skip
        self._sum, self._count = torch.zeros(1, encoder.bins, device=device), 0.0
        self._before: NoisyEncoding | None = None

    def push(self, power: torch.Tensor) -> NoisyEncoding:
        """Take the next frames, ``power`` (1, n, F) at the prior's level; the encoding of the last ``tail``."""
        new = self._encode(power[0])
        joined = new if self._before is None else self._before.followed_by(new)
        self._before = joined.frames(slice(-self._tail, None))
        return self._before

    def _encode(self, power: torch.Tensor) -> NoisyEncoding:
        """The encoding of the frames ``power`` (n, F); compare ConvolutionalNoisyEncoder.forward."""
        net, n = self._encoder, len(power)
        log_power = torch.log(power + POWER_FLOOR)
        standard = (log_power - net.log_power_mean) / net.log_power_std
        mean = self._running_mean(standard)
        band, band_mean = self._to_bands(torch.cat([standard, mean])).split(n)
        image = torch.cat([self._image, torch.stack([band, band - band_mean]).unsqueeze(0)], 2)
        low = functional.silu(net.down1(image))
        recent = torch.cat([self._low, low], 2)
        self._image, self._low = image[:, :, n:], recent[:, :, n:]
        deep = functional.silu(net.down2(recent))
        hidden = net.enter(deep[0].transpose(0, 1).flatten(1)) + net.enter_mean(band_mean)
        hidden = self._over_time(hidden)
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
        """The residual blocks on the next frames (n, width)."""
        n, width = hidden.shape
        for number, (dilation, norm, taps, mix, past) in enumerate(self._blocks):
            seen = torch.cat([past, functional.layer_norm(hidden, (width,), norm.weight, norm.bias)])
            self._blocks[number] = (dilation, norm, taps, mix, seen[n:])
            # Row k holds the frames k, k + dilation and k + 2 dilation, one after the other.
            three = seen.as_strided((n, 3, width), (width, dilation * width, 1)).reshape(n, 3 * width)
            changed = functional.silu(functional.linear(three, taps.weight, taps.bias))
            hidden = hidden + functional.linear(changed, mix.weight, mix.bias)
        leave: torch.Tensor = self._encoder.leave(hidden)
        return leave

    def _running_mean(self, standard: torch.Tensor) -> torch.Tensor:
        """The mean of the stream up to each of the next frames (n, F)."""
        n = len(standard)
        sums = self._sum + standard.cumsum(0)
        counts = self._count + torch.arange(1, n + 1, device=sums.device).unsqueeze(1)
        keep = min(1.0, MEAN_FRAMES / (self._count + n))
        self._sum, self._count = sums[-1:] * keep, (self._count + n) * keep
        return sums / counts

    def _to_bands(self, values: torch.Tensor) -> torch.Tensor:
        """Mean of ``values`` (n, F) over the bins of each band."""
        narrow = self._encoder.narrow
        return torch.cat([values[:, :narrow], values[:, narrow:] @ self._wide], 1)
