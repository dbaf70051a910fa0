"""Train the decoder of the high band on features of clean full-band speech (high_band_features.py).

    python eval/scripts/train_high_band.py train ../checkpoints/band/train.npz ../checkpoints/band/valid.npz \\
        pretrained/high-band
    python eval/scripts/train_high_band.py compare ../checkpoints/band/train.npz ../checkpoints/band/valid.npz

``compare`` trains without augmentation on what the decoder could read: the low band's speech with and without
neighbouring frames, and the latents of the prior ``default``; it prints the validation NLL of each.
high_band_variants.py compares the two with 7 frames in noise.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch

from vae_se.high_band.bands import HIGH_BANDS, LOW_BANDS
from vae_se.high_band.decoder import INPUT_FLOOR, HighBandDecoder, nll
from vae_se.high_band.store import save_high_band

STEPS, BATCH, RATE, SEED = 2000, 1024, 1e-3, 0
NOTE = (
    "Clean speech at 44.1 and 48 kHz, one speaker each: rhasspy/dataset-voice-kerstin (German), "
    "rhasspy/dataset-voice-kathleen (US English), VCTK p239 (English). Validated on "
    "rhasspy/dataset-voice-nathalie (Dutch) and VCTK p225 (English). The audio is not part of this package."
)
LICENCE = "rhasspy voices: CC0 1.0. VCTK: CC BY 4.0, Veaux, Yamagishi and MacDonald, CSTR VCTK Corpus, 2017."


class Features:
    """Low- and high-band powers (N, bands) of many recordings, one after the other."""

    def __init__(self, path: str) -> None:
        data = np.load(path)
        self.low, high = torch.from_numpy(data["low"]), torch.from_numpy(data["high"])
        self.z = data["z"]
        self.mask = high.isfinite().float()
        self.high = high.nan_to_num()
        self.speaker = torch.from_numpy(data["speaker"]).long()
        self.names = [str(name) for name in data["names"]]
        ends = torch.from_numpy(data["length"]).cumsum(0)
        lengths = torch.from_numpy(data["length"])
        self.first = torch.repeat_interleave(ends - lengths, lengths)
        self.last = torch.repeat_interleave(ends - 1, lengths)

    def around(self, frames: torch.Tensor, context: int) -> torch.Tensor:
        """Indices (n, 2 C + 1) of frames and their neighbours; the outer frames of a recording repeat."""
        index = frames[:, None] + torch.arange(-context, context + 1)
        return index.clamp(self.first[frames, None], self.last[frames, None])


def noisy_posterior(low: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """What a filter leaves of speech powers (n, C, bands) in noise: a simulation of E[|s|^2 | x].

    The noise has a random level, tilt and colour; the filter knows the speech variance up to 3 dB.
    """
    count, context, bands = low.shape

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    level = -65 + 65 * torch.rand(count, 1, 1, generator=generator)
    slope = torch.linspace(1, -1, bands) * 8 * normal(count, 1, 1)
    noise = 10 ** ((level + slope + 4 * normal(count, 1, bands) + 3 * normal(count, context, 1)) / 10)
    variance = low * torch.exp(0.7 * normal(count, context, bands))
    mask = variance / (variance + noise)
    observed = low + noise * (1 + 0.35 * normal(count, context, bands)).clamp(min=0.1)
    return mask.square() * observed + mask * noise


def augmented(
    low: torch.Tensor, high: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Other levels (3 dB), another colour of the low band (3 dB), and noise in two of three examples."""
    count, bands = len(low), low.shape[-1]
    level = 3 * torch.randn(count, 1, generator=generator)
    shape = torch.stack([torch.linspace(-1, 1, bands), torch.cos(torch.linspace(0, 2 * torch.pi, bands))])
    colour = 2 * torch.randn(count, 2, generator=generator) @ shape
    low = low * 10 ** ((level + colour) / 10).unsqueeze(1)
    noisy = torch.rand(count, 1, 1, generator=generator) < 0.67
    return torch.where(noisy, noisy_posterior(low, generator), low), high * 10 ** (level / 10)


def fit(
    data: Features, decoder: HighBandDecoder, steps: int, augment: bool, inputs: torch.Tensor | None = None
) -> torch.Tensor:
    """Train; returns the level (speakers, bands) of each speaker against the decoder's mean speaker.

    ``inputs`` (N, D) takes the place of the standardised low band.
    """
    generator = torch.Generator().manual_seed(SEED)
    offset = torch.zeros(len(data.names), HIGH_BANDS, requires_grad=True)
    optimiser = torch.optim.Adam([*decoder.parameters(), offset], RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2 * RATE, total_steps=steps, pct_start=0.1)
    # Every speaker has the same share.
    edges = (1 / torch.bincount(data.speaker).double()[data.speaker]).cumsum(0)
    started = time.time()
    for step in range(steps):
        frames = weighted_sample(edges, BATCH, generator)
        around, high = data.around(frames, decoder.context), data.high[frames]
        if inputs is None:
            low = data.low[around]
            if augment:
                low, high = augmented(low, high, generator)
            read = decoder.standardised(low)
        else:
            read = inputs[around]
        eta = decoder.net(read.flatten(1)) + (offset - offset.mean(0))[data.speaker[frames]]
        loss = nll(high, eta.clamp(-24, 24), data.mask[frames])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        if step % 250 == 0:
            print(f"step {step}: nll {loss.item():.3f}, {time.time() - started:.0f} s", flush=True)
    return (offset - offset.mean(0)).detach()


def weighted_sample(edges: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """``count`` indices, drawn with weights whose running sums are ``edges`` (N,)."""
    drawn = torch.rand(count, dtype=torch.float64, generator=generator) * edges[-1]
    return torch.searchsorted(edges, drawn).clamp(max=len(edges) - 1)


@torch.no_grad()
def validate(data: Features, decoder: HighBandDecoder, inputs: torch.Tensor | None = None) -> dict[str, float]:
    """NLL of each speaker with the response of each band that fits the recordings best, as EM finds it."""
    scores = {}
    for number, name in enumerate(data.names):
        frames = torch.nonzero(data.speaker == number)[:, 0][::3]
        read = decoder.standardised(data.low) if inputs is None else inputs
        eta = decoder.net(read[data.around(frames, decoder.context)].flatten(1))
        high, mask = data.high[frames], data.mask[frames]
        response = ((high * torch.exp(-eta) * mask).sum(0) / mask.sum(0).clamp(min=1)).clamp(min=1e-6).log()
        scores[name] = round(float(nll(high, eta + response, mask)), 4)
    return scores


def new_decoder(data: Features, context: int, width: int = LOW_BANDS) -> HighBandDecoder:
    """An untrained decoder that standardises its input as ``data`` requires."""
    torch.manual_seed(SEED)
    decoder = HighBandDecoder(context)
    if width != LOW_BANDS:
        decoder.net[0] = torch.nn.Linear(width * (2 * context + 1), decoder.hidden)
    log = (data.low + INPUT_FLOOR).log()
    decoder.get_buffer("mean").copy_(log.mean(0))
    decoder.get_buffer("deviation").copy_(log.std(0))
    speech = data.high * data.mask
    decoder.net[-1].bias.data.copy_((speech.sum(0) / data.mask.sum(0).clamp(min=1)).clamp(min=1e-9).log() - 1)
    return decoder


def train(train_file: str, valid_file: str, target: str) -> None:
    torch.set_num_threads(1)
    data, valid = Features(train_file), Features(valid_file)
    decoder, started = new_decoder(data, context=3), time.time()
    fit(data, decoder, STEPS, augment=True)
    scores = validate(valid, decoder)
    print("validation NLL:", scores)
    save_high_band(
        decoder, Path(target), training={
            "steps": STEPS, "batch": BATCH, "seed": SEED, "seconds": round(time.time() - started),
            "hours": round(len(data.low) * 256 / 16000 / 3600, 2), "data_note": NOTE, "licence": LICENCE,
        }, scores={"nll": scores},
    )  # fmt: skip


def fitted_without_augmentation(data: Features, context: int, latents: bool) -> HighBandDecoder:
    """A decoder of the low band's power, or of the latents, trained on clean speech."""
    decoder = new_decoder(data, context, data.z.shape[1] if latents else LOW_BANDS)
    fit(data, decoder, STEPS // 3, False, torch.from_numpy(data.z).float() if latents else None)
    return decoder


def compare(train_file: str, valid_file: str) -> None:
    torch.set_num_threads(1)
    data, valid = Features(train_file), Features(valid_file)
    for name, context, latents in (
        ("low band, one frame", 0, False), ("low band, 7 frames", 3, False),
        ("latents, one frame", 0, True), ("latents, 7 frames", 3, True),
    ):  # fmt: skip
        decoder = fitted_without_augmentation(data, context, latents)
        print(
            name, validate(valid, decoder, torch.from_numpy(valid.z).float() if latents else None), flush=True
        )


if __name__ == "__main__":
    {"train": train, "compare": compare}[sys.argv[1]](*sys.argv[2:])
