"""A convolutional noisy encoder: bands in frequency, dilated convolutions in time, a noise mask per band."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..errors import UsageError
from ..likelihood import LogVariances
from ..numerics import LOG_VARIANCE_MAX, LOG_VARIANCE_MIN, POWER_FLOOR
from ..priors.posterior import GaussianPosterior
from .network import NoisyEncoding, check_sizes, recording_mean
from .past import Past

LATENT_RANGE = (-8.0, 2.0)  # of log-variances of q
MASK_RANGE = (-8.0, 3.0)  # of log n - log |x|^2, where the noise follows the input
DEVIATION_RANGE = (-6.0, 6.0)
SHARE_RANGE = (-8.0, 3.0)  # of log v - log |x|^2, for variances v that the network is given
NOISE_STD_RANGE = (-3.0, 0.9)  # of the logarithm of the standard deviation of log n
_MAPS = 5  # per band: gate, share and departure of the noise; deviation of the speech and its slope
_GIVEN_MAPS = 2  # per band: trust in the given noise; slope of the speech's deviation on its given power


@dataclasses.dataclass(frozen=True, kw_only=True)
class CalibratedEncoding(NoisyEncoding):
    """``posterior`` is narrow: its covariance is that of the clean frame's posterior, so that a draw is a
    plausible frame; it starts EM and is its proposal. ``spread`` has the same mean and a variance that also
    holds the network's own error, so that central intervals cover the clean posterior's mean as often as they
    say."""

    spread: GaussianPosterior


def band_matrix(bins: int, narrow: int, wide: int) -> torch.Tensor:
    """Bands (narrow + wide, F) that average bins: the lowest ``narrow`` bins stay as they are, the others fall
    into ``wide`` bands whose widths grow in proportion to frequency. Rows sum to 1, every bin is in exactly
    one band."""
    ratio = (bins / narrow) ** (1 / wide)
    edges = np.round(narrow * ratio ** np.arange(wide + 1)).astype(int)
    for i in range(1, wide + 1):  # every band holds a bin at least
        edges[i] = max(edges[i], edges[i - 1] + 1)
    if edges[-1] != bins:
        raise UsageError(f"{narrow} + {wide} bands for {bins} bins", "take fewer bands")
    matrix = np.zeros((narrow + wide, bins), np.float32)
    matrix[:narrow, :narrow] = np.eye(narrow)
    for i in range(wide):
        matrix[narrow + i, edges[i] : edges[i + 1]] = 1.0 / (edges[i + 1] - edges[i])
    return torch.from_numpy(matrix)


class _Dilated(nn.Module):
    """Residual block over time: y = x + W2 act(conv(norm(x))), with a kernel of three frames ``dilation``
    apart."""

    def __init__(self, width: int, dilation: int, causal: bool) -> None:
        super().__init__()
        self.dilation, self.causal = dilation, causal
        self.norm = nn.LayerNorm(width)
        self.taps = nn.Linear(3 * width, width)
        self.mix = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, mask: torch.Tensor, past: Past, key: str) -> torch.Tensor:
        d, n = self.dilation, x.shape[1]
        # Frames that do not exist count as zero, at the ends of the batch and of each recording alike.
        h = self.norm(x) * mask
        h = past.prepend(key, h, 2 * d, 1) if self.causal else functional.pad(h, (0, 0, d, d))
        h = torch.cat([h[:, :n], h[:, d : d + n], h[:, 2 * d : 2 * d + n]], -1)
        out: torch.Tensor = x + self.mix(functional.silu(self.taps(h)))
        return out


class _Outputs(typing.NamedTuple):
    """Of the layers: moments of the latents (B, N, 3 L), and maps (B, maps, N, bands)."""

    speech: torch.Tensor
    maps: torch.Tensor
    given_maps: torch.Tensor | None
    log_noise_std: torch.Tensor | None  # (B, N, bands)


class ConvolutionalNoisyEncoder(nn.Module):
    """Noisy power (B, N, F), at the level that the prior expects of speech, to q(z | x) and the noise variance.

    Log-power is standardised bin by bin and gathered into bands (single bins below about 2 kHz, where
    harmonics are resolved; bands of constant relative width above). Two strided convolutions over frequency
    and time see it beside its departure from the recording's mean; residual blocks of dilated convolutions
    over time (Bai, Kolter and Koltun, An empirical evaluation of generic convolutional and recurrent networks
    for sequence modeling, 2018) see the rest; the path back to bands has connections across (Ronneberger,
    Fischer and Brox, U-Net, 2015). Compare Rong et al., GTCRN, 2024, for the bands.

    The deviation of the speech from the decoder's variance is a value per band, and a slope times the
    departure of the bin's log-power from its band's mean: it holds the harmonics, which 32 latents per frame
    do not.

    The noise of a bin is a geometric mean of two proposals, weighted by a gate per band: a share of the
    input's power in this very bin (a mask, so that the noise may move as fast as the input), and the
    recording's mean spectrum with a correction (steady noise, also under speech).

    A ``noise_aware`` network may also see what EM has found so far, the variances of speech and noise: q(z | x,
    v, n). Their ratios to the input's power are two further channels of the first convolution. The noise moves
    towards the given one by a trust per band, and a second slope multiplies the harmonics of the speech's
    given posterior power. Without them it is the network described above.

    With ``noise_width`` it also says how sure it is of the noise: log n is Gaussian given x, with a standard
    deviation per band. That head learns from the rest of the network and does not change it.

    ``bins``: F; ``latent_dim``: L; ``width`` of the blocks over time; ``channels`` of the first convolution;
    ``blocks``: their number; ``causal``: frame n depends on frames 1 to n alone, and the mean is the running
    one.
    """

    log_power_mean: torch.Tensor
    log_power_std: torch.Tensor
    bands: torch.Tensor
    band_of: torch.Tensor

    NARROW, WIDE = 128, 64
    DILATIONS = (1, 2, 4, 8, 16, 32)

    def __init__(
        self,
        bins: int,
        latent_dim: int,
        width: int = 256,
        channels: int = 16,
        blocks: int = 8,
        causal: bool = False,
        noise_aware: bool = False,
        noise_width: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(bins=bins, latent_dim=latent_dim, width=width, channels=channels, blocks=blocks)
        self.bins, self.latent_dim, self.causal = bins, latent_dim, causal
        self.width, self.channels, self.blocks = width, channels, blocks
        self.factors: torch.dtype | None = None  # see multiply_in()
        self.noise_aware, self.noise_width = noise_aware, noise_width
        narrow, wide = (self.NARROW, self.WIDE) if bins > 256 else (bins // 2 - bins // 2 % 8, 8)
        self.narrow = narrow
        bands = band_matrix(bins, narrow, wide)
        self.register_buffer("bands", bands, persistent=False)
        self.register_buffer("band_of", bands.argmax(0), persistent=False)
        self.positions = (narrow + wide) // 8  # of the second convolution
        self.down1 = nn.Conv2d(2, channels, (3, 8), (1, 4), (0, 2))
        self.down2 = nn.Conv2d(channels, 2 * channels, (3, 4), (1, 2), (0, 1))
        self.enter = nn.Linear(2 * channels * self.positions, width)
        self.enter_mean = nn.Linear(narrow + wide, width, bias=False)
        self.time = nn.ModuleList(
            _Dilated(width, self.DILATIONS[i % len(self.DILATIONS)], causal) for i in range(blocks)
        )
        self.leave = nn.LayerNorm(width)
        self.speech = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 3 * latent_dim))
        self.up0 = nn.Linear(width, channels * self.positions)
        self.up1 = nn.ConvTranspose2d(3 * channels, channels, (1, 4), (1, 2), (0, 1))
        self.up2 = nn.ConvTranspose2d(2 * channels, _MAPS, (1, 8), (1, 4), (0, 2))
        with torch.no_grad():  # begin near the prior, near half of the input's power and near the mean spectrum
            typing.cast(nn.Linear, self.speech[-1]).weight.mul_(0.2)
            self.up2.weight.mul_(0.2)
            for block in self.time_blocks():
                block.mix.weight.mul_(0.2)
        if noise_aware:
            self.down_given = nn.Conv2d(2, channels, (3, 8), (1, 4), (0, 2), bias=False)
            self.up_given = nn.ConvTranspose2d(2 * channels, _GIVEN_MAPS, (1, 8), (1, 4), (0, 2))
            for layer in (self.down_given, self.up_given):  # at first, what is given has no influence
                for parameter in layer.parameters():
                    nn.init.zeros_(parameter)
        if noise_width:
            self.up_noise_width = nn.ConvTranspose2d(2 * channels, 1, (1, 8), (1, 4), (0, 2))
            with torch.no_grad():
                self.up_noise_width.weight.mul_(0.2)
        self.register_buffer("log_power_mean", torch.zeros(bins))
        self.register_buffer("log_power_std", torch.ones(bins))

    def set_statistics(self, mean: torch.Tensor, std: torch.Tensor) -> None:
        """Standardise the input by the log-power of noisy recordings, both (F,)."""
        self.log_power_mean.copy_(mean)
        self.log_power_std.copy_(std)

    def forward(
        self,
        power: torch.Tensor,
        mask: torch.Tensor,
        past: Past | None = None,
        *,
        given: LogVariances | None = None,
    ) -> CalibratedEncoding:
        """``power`` (B, N, F), ``mask`` (B, N): a recording's result does not depend on its padding.

        ``past``: of a causal network that takes a recording in parts; it is updated. ``given``: variances of
        speech and noise that EM has found; only a network that is noise-aware sees them.
        """
        past, present = past or Past(), mask.unsqueeze(-1)
        log_power = torch.log(power + POWER_FLOOR)
        standard = (log_power - self.log_power_mean) / self.log_power_std * present
        mean = past.mean(standard, mask) if self.causal else recording_mean(standard, mask, causal=False)
        band, band_mean = self._to_bands(standard), self._to_bands(mean)
        shares = None
        if self.noise_aware and given is not None:
            shares = torch.stack([v - log_power for v in (given.speech, given.noise)], 1).clamp(*SHARE_RANGE)
            shares = self._to_bands(shares) * present.unsqueeze(1)
        with torch.autocast(power.device.type, self.factors or torch.bfloat16, self.factors is not None):
            out = self._layers(band, band_mean, shares, mask, past)
        latent_mean, log_variance, log_spread = out.speech.to(power).chunk(3, -1)
        gate, share, departure, level, slope = out.maps.to(power).unbind(1)
        gate, share, departure = (self._to_bins(m) for m in (torch.sigmoid(gate), share, departure))
        moving = log_power + share.clamp(*MASK_RANGE)
        steady = self.log_power_mean + self.log_power_std * (mean + departure)
        log_noise = gate * moving + (1 - gate) * steady
        log_deviation = self._to_bins(level) + self._to_bins(slope) * self._within_band(log_power)
        if out.given_maps is not None and given is not None:
            trust, slope = (self._to_bins(m) for m in out.given_maps.to(power).unbind(1))
            log_noise = log_noise + torch.tanh(trust) * (given.noise - log_noise)
            speech_power = log_power + 2 * functional.logsigmoid(given.speech - given.noise)
            log_deviation = log_deviation + slope * self._within_band(speech_power)
        return CalibratedEncoding(
            posterior=GaussianPosterior(latent_mean, log_variance.clamp(*LATENT_RANGE)),
            log_noise=log_noise.clamp(LOG_VARIANCE_MIN, LOG_VARIANCE_MAX),
            log_deviation=log_deviation.clamp(*DEVIATION_RANGE),
            spread=GaussianPosterior(latent_mean, log_spread.clamp(*LATENT_RANGE)),
            noise_std=self.noise_std_of(out.log_noise_std, power),
        )

    def _layers(
        self,
        band: torch.Tensor,
        band_mean: torch.Tensor,
        shares: torch.Tensor | None,
        mask: torch.Tensor,
        past: Past,
    ) -> _Outputs:
        """The layers that have weights, from the standardised log-power of the bands (B, N, bands)."""
        present = mask.unsqueeze(-1)
        # Channels last: the convolutions over frequency and time take half the time on a CPU.
        image = torch.stack([band, (band - band_mean) * present], -1).permute(0, 3, 1, 2)
        low = self.down1(self._pad(image, past, "image"))
        if shares is not None:
            low = low + self.down_given(self._pad(shares, past, "given"))
        low = functional.silu(low) * mask[:, None, :, None]
        deep = functional.silu(self.down2(self._pad(low, past, "low")))
        hidden = self.enter(deep.transpose(1, 2).flatten(2)) + self.enter_mean(band_mean)
        for number, block in enumerate(self.time_blocks()):
            hidden = block(hidden, present, past, f"block {number}")
        hidden = self.leave(hidden)
        back = self.up0(hidden).unflatten(-1, (self.channels, self.positions)).transpose(1, 2)
        back = back.contiguous(memory_format=torch.channels_last)
        back = functional.silu(self.up1(torch.cat([back, deep], 1)))
        top = torch.cat([back, low], 1)
        return _Outputs(
            speech=self.speech(hidden),
            maps=self.up2(top),
            given_maps=None if shares is None else self.up_given(top),
            log_noise_std=self.log_noise_std_of(top),
        )

    def log_noise_std_of(self, top: torch.Tensor) -> torch.Tensor | None:
        """Map (B, N, bands) of the width of log n, from the features (B, 2 channels, N, bands / 4), or None."""
        return self.up_noise_width(top.detach())[:, 0] if self.noise_width else None

    def noise_std_of(self, log_std: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor | None:
        """Standard deviation (B, N, F) of log n from its map, in the type of ``like``, or None."""
        return None if log_std is None else self._to_bins(torch.exp(log_std.to(like).clamp(*NOISE_STD_RANGE)))

    def multiply_in(self, dtype: torch.dtype | None) -> None:
        """Round the factors and the results of matrix products and convolutions to ``dtype``, whose sums keep
        their precision; None: single precision throughout."""
        self.factors = dtype

    def _to_bands(self, values: torch.Tensor) -> torch.Tensor:
        """Mean of ``values`` (..., F) over the bins of each band; the lowest bands are single bins."""
        narrow = self.narrow
        wide = values[..., narrow:] @ self.bands[narrow:, narrow:].T
        return torch.cat([values[..., :narrow], wide], -1)

    def _to_bins(self, values: torch.Tensor) -> torch.Tensor:
        """``values`` of bands, repeated in each of their bins."""
        return values.index_select(-1, self.band_of)

    def _within_band(self, values: torch.Tensor) -> torch.Tensor:
        """Departure of ``values`` (..., F) from the mean of their band."""
        return values - self._to_bins(self._to_bands(values))

    def time_blocks(self) -> Iterator[_Dilated]:
        """The residual blocks, in order."""
        return (typing.cast(_Dilated, block) for block in self.time)

    def _pad(self, image: torch.Tensor, past: Past, key: str) -> torch.Tensor:
        """Two frames more, for a kernel of three."""
        return past.prepend(key, image, 2, 2) if self.causal else functional.pad(image, (0, 0, 1, 1))

    def config(self) -> dict[str, Any]:
        """Keywords of the constructor, JSON-able."""
        return {
            "bins": self.bins, "latent_dim": self.latent_dim, "width": self.width, "channels": self.channels,
            "blocks": self.blocks, "causal": self.causal, "noise_aware": self.noise_aware,
            "noise_width": self.noise_width,
        }  # fmt: skip
