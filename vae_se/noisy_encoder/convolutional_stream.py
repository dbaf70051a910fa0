"""A convolutional noisy encoder on a stream: layers remember the past, on tensors without a batch."""

from __future__ import annotations

import math

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
    they had when the frames left that window. The mean spectrum is that of the stream so far. Where the level
    changes, the mean and the frames of the window change with it.

    A block of a few frames has little arithmetic, so what counts is the number of operations: there are no
    masks, and layers keep their input in one piece. ``tail``: frames that :meth:`push` returns.
    """

    def __init__(self, encoder: ConvolutionalNoisyEncoder, tail: int, revised: int = 0) -> None:
        self._encoder, self._tail = encoder, tail
        self._revised = 0 if encoder.causal else max(revised, tail)
        narrow = encoder.narrow
        self._wide = encoder.bands[narrow:, narrow:].T.contiguous()
        # Looked up once: an attribute of a module costs as much as a small operation.
        self._blocks = [
            (
                f"block {number}", block.dilation, block.norm.weight, block.norm.bias,
                block.taps.weight, block.taps.bias, block.mix.weight, block.mix.bias,
            )
            for number, block in enumerate(encoder.time_blocks())
        ]  # fmt: skip
        self._log_power_mean, self._log_power_std = encoder.log_power_mean, encoder.log_power_std
        self._narrow, self._band_of = narrow, encoder.band_of
        self._kept: dict[str, torch.Tensor] = {}  # inputs of layers: the past, then the frames of the window
        self._log_power: torch.Tensor | None = None  # of the window, (n, F)
        self._log_level = 0.0
        self._frames = 0  # of the window
        self._sum, self._count = torch.zeros(1, encoder.bins, device=encoder.log_power_mean.device), 0.0
        self._before: NoisyEncoding | None = None

    def push(self, power: torch.Tensor, level: float = 1.0) -> NoisyEncoding:
        """The encoding of the last frames, see :class:`~vae_se.noisy_encoder.streaming.EncoderStream`."""
        new = self._encode(power[0], level)
        joined = new if self._before is None or self._revised else self._before.followed_by(new)
        self._before = joined.frames(slice(-self._tail, None))
        return self._before

    def _encode(self, power: torch.Tensor, level: float) -> NoisyEncoding:
        """The encoding of the window that ends with the frames ``power`` (n, F); compare
        ConvolutionalNoisyEncoder.forward."""
        net, new = self._encoder, torch.log(power / level + POWER_FLOOR)
        self._leaving = self._frames + (new.shape[0] - self._revised if self._revised else 0)
        self._change_level(math.log(level))
        log_power = self._window_of(new)
        self._frames = n = log_power.shape[0]
        standard = (log_power - self._log_power_mean) / self._log_power_std
        mean = self._mean(standard[n - new.shape[0] :])
        band, band_mean = self._to_bands(torch.cat([standard, mean])).split([n, mean.shape[0]])
        image = torch.stack([band, band - band_mean]).unsqueeze(0)
        low = functional.silu(net.down1(self._with_context("image", image, 1, 2)), inplace=True)
        deep = functional.silu(net.down2(self._with_context("low", low, 1, 2)), inplace=True)
        hidden = net.enter(deep[0].transpose(0, 1).flatten(1)) + net.enter_mean(band_mean)
        hidden = net.leave(self._over_time(hidden))
        latent_mean, log_variance, _ = net.speech(hidden).chunk(3, -1)
        back = net.up0(hidden).unflatten(-1, (net.channels, net.positions)).transpose(0, 1).unsqueeze(0)
        back = functional.silu(net.up1(torch.cat([back, deep], 1)), inplace=True)
        top = torch.cat([back, low], 1)
        maps = net.up2(top)[0]
        maps[0].sigmoid_()
        maps[1].clamp_(*MASK_RANGE)
        gate, share, departure, level, slope = maps.index_select(-1, self._band_of)
        steady = self._log_power_mean + self._log_power_std * (mean + departure)
        log_noise = torch.lerp(steady, log_power + share, gate)
        within_band = log_power - self._to_bands(log_power).index_select(-1, self._band_of)
        return NoisyEncoding(
            GaussianPosterior(latent_mean.unsqueeze(0), log_variance.clamp(*LATENT_RANGE).unsqueeze(0)),
            log_noise.clamp_(LOG_VARIANCE_MIN, LOG_VARIANCE_MAX).unsqueeze(0),
            (level + slope * within_band).clamp_(*DEVIATION_RANGE).unsqueeze(0),
            noise_std=net.noise_std_of(net.log_noise_std_of(top), top),
        )

    def _over_time(self, hidden: torch.Tensor) -> torch.Tensor:
        """The residual blocks on the window (n, width)."""
        n, width = hidden.shape
        for key, d, scale, shift, taps, taps_bias, mix, mix_bias in self._blocks:
            seen = self._with_context(key, torch.layer_norm(hidden, (width,), scale, shift), d, 0)
            # Row k holds the frames k, k + d and k + 2 d, one after the other.
            three = seen.as_strided((n, 3, width), (width, d * width, 1)).reshape(n, 3 * width)
            changed = functional.silu(functional.linear(three, taps, taps_bias), inplace=True)
            hidden = functional.linear(changed, mix, mix_bias).add_(hidden)
        return hidden

    def _change_level(self, log_level: float) -> None:
        """Bring what is known of earlier frames to the level of the next ones."""
        change = self._log_level - log_level
        if change and self._count:
            self._sum = self._sum + self._count * change / self._log_power_std
            if self._log_power is not None:
                self._log_power = self._log_power + change
        self._log_level = log_level

    def _window_of(self, new: torch.Tensor) -> torch.Tensor:
        """The log-power of the frames of the window, given those of the ``new`` ones (n, F)."""
        if not self._revised:
            return new
        before = new[:0] if self._log_power is None else self._log_power[max(0, self._leaving) :]
        self._log_power = joined = torch.cat([before, new])
        return joined

    def _with_context(self, key: str, values: torch.Tensor, reach: int, dim: int) -> torch.Tensor:
        """``values`` of the window with the frames beside them, along ``dim``, that a kernel of three frames,
        ``reach`` apart, needs: the past, and zeros after the last frame if the network is two-way."""
        past, after = (reach, reach) if self._revised else (2 * reach, 0)
        kept = self._kept.get(key)
        if kept is None or after:
            shape = list(values.shape)
            shape[dim] = past
            zeros = values.new_zeros(shape)
        before = zeros if kept is None else kept.narrow(dim, max(0, self._leaving), past)
        parts = [before, values, zeros] if after else [before, values]
        self._kept[key] = joined = torch.cat(parts, dim)
        return joined

    def _mean(self, standard: torch.Tensor) -> torch.Tensor:
        """The mean of the stream up to each of the next frames (n, F); up to the last of them, (1, F), for a
        two-way network."""
        n = standard.shape[0]
        sums = self._sum + (standard.sum(0, keepdim=True) if self._revised else standard.cumsum(0))
        counts = self._count + torch.arange(n + 1 - sums.shape[0], n + 1, device=sums.device).unsqueeze(1)
        keep = min(1.0, MEAN_FRAMES / (self._count + n))
        self._sum, self._count = sums[-1:] * keep, (self._count + n) * keep
        return sums / counts

    def _to_bands(self, values: torch.Tensor) -> torch.Tensor:
        """Mean of ``values`` (n, F) over the bins of each band."""
        low, high = values.split([self._narrow, values.shape[1] - self._narrow], 1)
        return torch.cat([low, high @ self._wide], 1)
