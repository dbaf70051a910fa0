"""``vae-se noise``: learn a noise dictionary from recordings of noise, and show one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..audio import files
from ..errors import OutputError, UsageError
from .common import say

#: Frames that a dictionary is fitted to: three minutes, drawn from all of the sound. More change little.
_FRAMES = 12_000
# Frames 60 dB below the recording's level are pauses; their spectrum is that of rounding errors.
_PAUSE = 1e-6


@click.group(short_help="Learn a noise dictionary from recordings of noise.")
def noise() -> None:
    """Noise dictionaries, for vae-se enhance --noise FILE."""


@noise.command()
@click.argument("folder", metavar="DIR")
@click.option("-o", "--out", "output", required=True, metavar="FILE", help="Output file, *.safetensors.")
@click.option("--rank", type=click.IntRange(min=1), default=16, show_default=True, help="Number of spectra.")
@click.option(
    "--iterations", type=click.IntRange(min=1), default=100, show_default=True, help="Number of updates."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the initialisation.")
@click.option(
    "--prior",
    default="default",
    show_default=True,
    metavar="NAME|DIR",
    help="The prior; its rate and STFT are used.",
)
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def fit(
    folder: str, output: str, rank: int, iterations: int, seed: int, prior: str, overwrite: bool, quiet: bool
) -> None:
    """Learn a dictionary from recordings of noise without speech in DIR (searched recursively), or in one file.

    Then: vae-se enhance noisy.wav --noise FILE
    """
    from ..noise.store import SUFFIX, NoiseDictionary, save_dictionary

    path = Path(output)
    if path.suffix != SUFFIX:
        raise UsageError(
            f"--out {output}", f"end the name with {SUFFIX}: --noise recognises a dictionary by it"
        )
    files.prepare_folder(path)
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already", "give --overwrite, or another --out")

    import numpy as np
    import torch
    from tqdm import tqdm

    from ..noise.dictionary import fit as learn
    from ..numerics import POWER_FLOOR
    from ..priors import load_prior
    from ..rng import numpy_stream
    from .speech import powers

    model: Any = load_prior(prior)
    spectra, sources = powers(folder, model, None, "noise")
    power = torch.cat([frames[frames.mean(-1) > _PAUSE] for frames in spectra]) + POWER_FLOOR
    if len(power) > _FRAMES:
        chosen = numpy_stream(seed, "noise frames").choice(len(power), _FRAMES, replace=False)
        power = power[torch.from_numpy(np.sort(chosen))]
    with tqdm(total=iterations, disable=quiet or None, leave=False, unit="it") as bar:

        def progress(done: int, total: int) -> None:
            bar.update()

        atoms, divergence = learn(power, rank, iterations, seed, progress)
    signal = model.signal
    names = tuple(str(source) for source in sources)
    save_dictionary(NoiseDictionary(atoms, signal.rate, signal.window, signal.hop, names), path)
    if not quiet:
        say(
            f"wrote {path}: {rank} spectra from {len(power)} frames of {len(names)} files, "
            f"divergence {divergence:.2f} per bin (0.58 where the model is exact)"
        )


@noise.command()
@click.argument("file", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def show(file: str, as_json: bool) -> None:
    """Show the sources of a dictionary, and the frequency range of each spectrum."""
    from ..noise.store import load_dictionary

    dictionary = load_dictionary(file)
    header = dictionary.header()
    bins = dictionary.atoms.shape[1]
    share = dictionary.atoms.cumsum(-1) / dictionary.atoms.sum(-1, keepdim=True)
    # The frequencies below which 5, 50 and 95 % of the power of a spectrum lie.
    edges = [
        [round(float((row < part).sum()) * dictionary.rate / 2 / (bins - 1)) for part in (0.05, 0.5, 0.95)]
        for row in share
    ]
    if as_json:
        click.echo(json.dumps({**header, "hertz": edges}))
        return
    for key, value in header.items():
        click.echo(f"{key} = {value if key != 'sources' else ', '.join(value)}")
    for number, (low, middle, high) in enumerate(edges, 1):
        click.echo(f"atom {number}: {low} to {high} Hz, median {middle} Hz")
