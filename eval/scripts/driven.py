"""What tracks that drive the dynamics are worth: speech activity and pitch, with and without a delay.

    python eval/scripts/driven.py ../data-more/train/librispeech ../data-more/valid/librispeech \
        > eval/results/driven.md

Encoder and decoder are those of `default`, and only p(z_n | ..., u_n) is trained, with the same seed for all
tracks u. So the reconstruction is the same for all, and the ELBO changes by as much as the KL. `z_n-1`: the
dynamics of `dkf-driven`; `z_1..n-1`: with a recurrent layer, as in `latent-rnn`. The activity is that of
`dkf-driven`, delayed by LAG frames. The pitch is what pyin (librosa; Mauch and Dixon, 2014) finds, also
delayed: whether a frame is voiced, and the logarithm of the fundamental frequency, 0 where it is not. Without a
lag the track sees the frame that it drives, so that the bound is one on log p(s | u) and flatters. pyin decides
by a path through the whole recording, so that with pitch this holds for any lag. Frames overlap by three
quarters: a lag of 4 is the first with which no sample is shared. Needs librosa (pip install librosa).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import librosa
import numpy as np
import torch

from vae_se.data.features import power_spectra, read_normalised
from vae_se.data.files import list_audio
from vae_se.likelihood import gaussian_kl_between
from vae_se.priors.dynamical.base import transition_net
from vae_se.priors.dynamical.driven_dkf import DrivenDKF
from vae_se.priors.dynamical.linear_recurrence import MinGRU
from vae_se.priors.dynamical.posterior import moments, reparameterised
from vae_se.priors.dynamical.sequences import shifted
from vae_se.priors.ffvae import FFVAE
from vae_se.rng import numpy_stream

TRAINING, VALIDATION, SECONDS = 100, 40, 10.0
EPOCHS, SEQUENCE, BATCH, RATE, UNITS = 20, 128, 8, 2e-3, 128
#: Tracks by name: lag in frames, and columns of (activity, voiced, pitch).
TRACKS = {
    "none": (0, ()),
    "activity, lag 0": (0, (0,)),
    "activity, lag 1": (1, (0,)),
    "activity, lag 4": (4, (0,)),
    "activity and pitch, lag 0": (0, (0, 1, 2)),
    "activity and pitch, lag 1": (1, (0, 1, 2)),
    "activity and pitch, lag 4": (4, (0, 1, 2)),
}


class Recording(NamedTuple):
    """Mean and log-variance of q(z_n | s_n), (N, L), and tracks (N, 3)."""

    mean: torch.Tensor
    log_variance: torch.Tensor
    tracks: torch.Tensor


class Dynamics(torch.nn.Module):
    """p(z_n | z_n-1, u_n), or p(z_n | z_1..n-1, u_1..n) with a recurrent layer."""

    def __init__(self, latent_dim: int, recurrent: bool) -> None:
        super().__init__()
        self.memory = MinGRU(latent_dim + 3, UNITS) if recurrent else None
        self.transition = transition_net(latent_dim + 3 + UNITS * recurrent, UNITS, latent_dim, "silu")

    def divergence(self, parts: Recording) -> torch.Tensor:
        """KL(q(z_n | s_n) || p(z_n | ...)), (B, N), at one draw of the earlier latents."""
        z = reparameterised(parts.mean, parts.log_variance, torch.randn_like(parts.mean))
        inputs = torch.cat([shifted(z), parts.tracks], -1)
        if self.memory is not None:
            inputs = torch.cat([inputs, self.memory(inputs)[0]], -1)
        return gaussian_kl_between(parts.mean, parts.log_variance, *moments(self.transition(inputs))).sum(-1)


@torch.no_grad()
def recordings(folder: Path, count: int, frames: FFVAE) -> list[Recording]:
    """The first SECONDS of `count` recordings, drawn with a seed."""
    paths, found, signal = list_audio(folder), [], frames.signal
    plain = DrivenDKF(signal=signal)
    for at in numpy_stream(0, "driven").permutation(len(paths))[:count]:
        wave = read_normalised(folder / paths[at], signal)[: int(SECONDS * signal.rate)]
        power = torch.from_numpy(power_spectra(wave, signal))
        # Frames of the STFT begin a window less a hop before the first sample.
        padded = np.pad(wave, (signal.window - signal.hop, signal.window))
        pitch, voiced, _ = librosa.pyin(
            padded, fmin=65, fmax=400, sr=signal.rate, frame_length=signal.window, hop_length=signal.hop,
            resolution=0.25, center=False,
        )  # fmt: skip
        height = np.where(voiced, np.log(np.nan_to_num(pitch, nan=150.0) / 150), 0.0)
        heard = torch.from_numpy(np.stack([voiced, height], -1).astype(np.float32))
        q, count = frames.encode(power), min(len(power), len(heard))
        tracks = torch.cat([plain.activity(power)[:count], heard[:count]], -1)
        found.append(Recording(q.mean[:count], q.log_variance[:count], tracks))
    return found


def delayed(tracks: torch.Tensor, lag: int, columns: tuple[int, ...]) -> torch.Tensor:
    """Tracks (N, 3), delayed, with 0 in all but some columns: all models start from the same weights."""
    kept = torch.tensor([float(column in columns) for column in range(tracks.shape[1])])
    return torch.nn.functional.pad(tracks, (0, 0, lag, 0))[: len(tracks)] * kept


def driven(data: list[Recording], name: str) -> list[Recording]:
    """The recordings with the tracks `name`."""
    return [part._replace(tracks=delayed(part.tracks, *TRACKS[name])) for part in data]


def trained(data: list[Recording], recurrent: bool) -> Dynamics:
    """Dynamics of these recordings."""
    torch.manual_seed(0)
    model, order = Dynamics(data[0].mean.shape[1], recurrent), np.random.default_rng(0)
    parts = [
        Recording(*(values[k : k + SEQUENCE] for values in recording))
        for recording in data
        for k in range(0, len(recording.mean) - SEQUENCE + 1, SEQUENCE)
    ]
    optimiser = torch.optim.Adam(model.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, EPOCHS * (len(parts) // BATCH))
    for _ in range(EPOCHS):
        shuffled = order.permutation(len(parts))
        for k in range(0, len(parts) - BATCH + 1, BATCH):
            batch = Recording(*map(torch.stack, zip(*(parts[i] for i in shuffled[k : k + BATCH]), strict=True)))
            optimiser.zero_grad()
            model.divergence(batch).mean().backward()
            optimiser.step()
            schedule.step()
    return model


@torch.no_grad()
def score(model: Dynamics, data: list[Recording]) -> torch.Tensor:
    """Mean divergence of every recording, over four draws."""
    torch.manual_seed(1)
    parts = (Recording(*(values.expand(4, -1, -1) for values in recording)) for recording in data)
    return torch.stack([model.divergence(part).mean() for part in parts])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("valid", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    frames = FFVAE.from_pretrained("default")
    training = recordings(given.train, TRAINING, frames)
    validation = recordings(given.valid, VALIDATION, frames)
    count = sum(len(part.mean) for part in training)
    print(
        f"{TRAINING} recordings ({count} frames) for training, {EPOCHS} epochs; {VALIDATION} of speakers not "
        "heard in training for validation. KL in nats per frame; gain of the ELBO against the same dynamics "
        "without a track, paired over recordings, with its standard error.\n"
    )
    print("| track | z_n-1: KL | gain | z_1..n-1: KL | gain |")
    print("|---|---|---|---|---|")
    base: dict[bool, torch.Tensor] = {}
    for name in TRACKS:
        cells = []
        for recurrent in (False, True):
            kl = score(trained(driven(training, name), recurrent), driven(validation, name))
            gain = base.setdefault(recurrent, kl) - kl
            cells += [f"{kl.mean():.2f}", f"{gain.mean():+.2f} ({gain.std() / len(gain) ** 0.5:.2f})"]
        shown = cells if name != "none" else [cells[0], "", cells[2], ""]
        print(f"| {name} | " + " | ".join(shown) + " |", flush=True)


if __name__ == "__main__":
    main()
