"""What tracks that drive the transition are worth: speech activity and pitch, with and without a delay.

    python eval/scripts/driven.py ../data-more/train/librispeech ../data-more/valid/librispeech \
        > eval/results/driven.md

Small models of the kind `dkf-driven` (64-128 hidden units, 16 latents, minGRU, q(z_n | s_1..N)) are trained on
the same recordings with the same seed, and differ in the tracks u alone. The activity is that of `dkf-driven`,
delayed by LAG frames. The pitch is what pyin (librosa; Mauch and Dixon, 2014) finds, also delayed: whether a
frame is voiced, and the logarithm of the fundamental frequency, 0 where it is not. pyin decides by a path
through the whole recording, so with pitch the bound is one on log p(s | pitch) and flatters; with activity
alone it bounds log p(s) where the lag is 1 or more. Frames overlap by three quarters, so LAG 4 is the first
that shares no sample with the frame it drives. Needs librosa (pip install librosa).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import librosa
import numpy as np
import torch

from vae_se.data.features import power_spectra, read_normalised
from vae_se.data.files import list_audio
from vae_se.likelihood import gaussian_kl_between
from vae_se.priors.dynamical.driven_dkf import DrivenDKF
from vae_se.rng import numpy_stream
from vae_se.signal_spec import SignalSpec

TRAINING, VALIDATION, SECONDS = 100, 40, 10.0
EPOCHS, SEQUENCE, BATCH, RATE = 10, 128, 8, 3e-3
#: Tracks by name: lag in frames, and columns of (activity, voiced, pitch).
TRACKS = {
    "none": (0, ()),
    "activity, lag 0": (0, (0,)),
    "activity, lag 1": (1, (0,)),
    "activity, lag 4": (4, (0,)),
    "pitch, lag 4": (4, (1, 2)),
    "activity and pitch, lag 4": (4, (0, 1, 2)),
}


class Driven(DrivenDKF):
    """The driven filter with three tracks, given with the speech."""

    inputs = 3

    def __init__(self) -> None:
        super().__init__((64, 128), 16, 64, cell="mingru", chained=False)

    def bound(self, power: torch.Tensor, drive: torch.Tensor) -> torch.Tensor:
        """Reconstruction and divergence of every frame of power (B, N, F) under tracks (B, N, U), (2, B, N)."""
        path = self.encode(power).draw(1)
        eta, transition = self.with_inputs(path.z, drive)
        assert transition is not None
        kl = gaussian_kl_between(path.mean, path.log_variance, *transition).sum(-1)
        return torch.stack([self.nll(power, eta), kl])


def recordings(folder: Path, count: int, signal: SignalSpec) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Power (N, F) and tracks (N, 3) of the first SECONDS of `count` recordings, drawn with a seed."""
    paths, found = list_audio(folder), []
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
        level = np.where(voiced, np.log(np.nan_to_num(pitch, nan=150.0) / 150), 0.0)
        heard = torch.from_numpy(np.stack([voiced, level], -1).astype(np.float32))[: len(power)]
        found.append((power, torch.cat([plain.activity(power)[: len(heard)], heard], -1)))
    return [(power[: len(tracks)], tracks) for power, tracks in found]


def delayed(tracks: torch.Tensor, lag: int, columns: tuple[int, ...]) -> torch.Tensor:
    """Tracks (N, 3), delayed, with 0 in all but some columns: all models start from the same weights."""
    kept = torch.tensor([float(column in columns) for column in range(tracks.shape[1])])
    return torch.nn.functional.pad(tracks, (0, 0, lag, 0))[: len(tracks)] * kept


def trained(name: str, data: list[tuple[torch.Tensor, torch.Tensor]]) -> Driven:
    """A model driven by the tracks `name`."""
    torch.manual_seed(0)
    model, order = Driven(), np.random.default_rng(0)
    log_power = torch.log(torch.cat([power for power, _ in data]) + 1e-8)
    model.log_power_mean.copy_(log_power.mean(0))
    model.log_power_std.copy_(log_power.std(0))
    with torch.no_grad():
        model.output.bias.copy_(log_power.exp().mean(0).log())
    parts = [
        (power[k : k + SEQUENCE], delayed(tracks, *TRACKS[name])[k : k + SEQUENCE])
        for power, tracks in data
        for k in range(0, len(power) - SEQUENCE + 1, SEQUENCE)
    ]
    steps = EPOCHS * (len(parts) // BATCH)
    optimiser = torch.optim.Adam(model.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps)
    for _ in range(EPOCHS):
        shuffled = order.permutation(len(parts))
        for k in range(0, len(parts) - BATCH + 1, BATCH):
            power, drive = map(torch.stack, zip(*(parts[i] for i in shuffled[k : k + BATCH]), strict=True))
            optimiser.zero_grad()
            model.bound(power, drive).sum(0).mean().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 500.0)
            optimiser.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def score(model: Driven, name: str, data: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """Mean reconstruction and KL of every recording, (recordings, 2)."""
    torch.manual_seed(1)
    found = [model.bound(power[None], delayed(tracks, *TRACKS[name])[None]) for power, tracks in data]
    return torch.stack([both.mean((1, 2)) for both in found])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("valid", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    signal = SignalSpec()
    training = recordings(given.train, TRAINING, signal)
    validation = recordings(given.valid, VALIDATION, signal)
    frames = sum(len(power) for power, _ in training)
    print(
        f"{TRAINING} recordings ({frames} frames) for training, {EPOCHS} epochs; {VALIDATION} of speakers not "
        "heard in training for validation. Nats per frame without F log pi; the change against no track is "
        "paired over recordings, with its standard error.\n"
    )
    print("| track | ELBO | change | reconstruction | KL | change of KL | minutes |")
    print("|---|---|---|---|---|---|---|")
    base: torch.Tensor | None = None
    for name in TRACKS:
        started = time.process_time()
        found = score(trained(name, training), name, validation)
        base = found if base is None else base
        changes = [base.sum(1) - found.sum(1), found[:, 1] - base[:, 1]]
        cells = [f"{c.mean():+.1f} ({c.std() / len(c) ** 0.5:.1f})" if name != "none" else "" for c in changes]
        mean = found.mean(0)
        print(
            f"| {name} | {-mean.sum():.1f} | {cells[0]} | {mean[0]:.1f} | {mean[1]:.1f} | {cells[1]} "
            f"| {(time.process_time() - started) / 60:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
