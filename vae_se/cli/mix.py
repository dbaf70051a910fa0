"""``vae-se mix``: noisy mixtures from clean speech and noise, as the benchmark makes them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..audio import files
from ..errors import OutputError, UsageError
from .common import say

if TYPE_CHECKING:
    from ..data.mixing import Draw

MANIFEST = "manifest.jsonl"


@click.command(short_help="Mix clean speech and noise at given SNRs.")
@click.argument("speech")
@click.argument("noise")
@click.option("--snr", default="0,5,10", show_default=True, metavar="DB,DB,...",
              help="Ratios of the active speech level (ITU-T P.56) to the RMS of the noise.")  # fmt: skip
@click.option("-o", "--out", required=True, metavar="DIR", help="Folder for noisy/, clean/ and the manifest.")
@click.option("--count", type=click.IntRange(min=1), metavar="N",
              help="Number of mixtures.  [default: speech files times SNRs]")  # fmt: skip
@click.option("--rate", type=click.IntRange(min=1), default=16000, show_default=True, metavar="HZ")
@click.option("--level", type=float, default=-26.0, show_default=True, metavar="DBFS",
              help="Active level of the speech.")  # fmt: skip
@click.option("--max-seconds", type=click.FloatRange(min=0), default=0.0, metavar="S",
              help="Cut longer speech.  [default: never]")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Of the order and the noise segments.")
@click.option("--save-noise", is_flag=True, help="Write the noise of each mixture as well, to noise/.")
@click.option("--overwrite", is_flag=True, help="Replace a set of mixtures in the folder.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
def mix(
    speech: str,
    noise: str,
    snr: str,
    out: str,
    count: int | None,
    rate: int,
    level: float,
    max_seconds: float,
    seed: int,
    save_noise: bool,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Mix SPEECH and NOISE, folders or one file each, with the recipe of vae-se benchmark.

    Writes OUT/noisy/ID.wav, OUT/clean/ID.wav (32-bit float, so that the samples are exact) and
    OUT/manifest.jsonl, from which the mixtures can be made again: [data] set = "mixing", manifest = "..." in a
    protocol. Then: vae-se enhance OUT/noisy -o mine; vae-se score OUT/clean mine --noisy OUT/noisy
    """
    from ..data.manifest import write_manifest
    from ..data.mixing import MixingRecipe, draw_all, mixable

    folder = Path(out)
    manifest = folder / MANIFEST
    if manifest.exists() and not overwrite:
        raise OutputError(f"{manifest} exists already", "give --overwrite, or another -o")
    (speech_root, utterances), (noise_root, noises) = mixable(Path(speech)), mixable(Path(noise))
    snrs = _snrs(snr)
    recipe = MixingRecipe(
        snrs_db=snrs,
        count=count if count is not None else len(utterances) * len(snrs),
        seed=seed,
        rate=rate,
        max_seconds=max_seconds,
        level_dbfs=(level, level),
    )
    from tqdm.auto import tqdm

    draws: list[Draw] = []
    hidden = quiet or not sys.stderr.isatty()
    with tqdm(total=recipe.count, unit="file", file=sys.stderr, disable=hidden, leave=False) as bar:
        for draw in draw_all(recipe, speech_root, noise_root, utterances, noises):
            _write(draw, speech_root, noise_root, folder, save_noise)
            draws.append(draw)
            bar.update()
    write_manifest(manifest, recipe, draws)
    say(f"wrote {len(draws)} mixtures to {folder}")


def _write(draw: Draw, speech: Path, noise: Path, folder: Path, save_noise: bool) -> None:
    """Write the files of one mixture."""
    from ..data.mixing import render

    mixture = render(draw, speech, noise, verify=False)
    like = files.Recording(mixture.noisy[None], draw.rate, "WAV", "FLOAT")
    parts = {"clean": mixture.clean, "noisy": mixture.noisy}
    if save_noise and mixture.noise is not None:
        parts["noise"] = mixture.noise
    for name, samples in parts.items():
        path = folder / name / f"{draw.id}.wav"
        files.prepare_folder(path)
        files.write(path, samples[None], like)


def _snrs(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(item) for item in text.split(",") if item.strip())
    except ValueError:
        raise UsageError(f"--snr {text}: expected numbers in dB", "for example --snr 0,5,10") from None
