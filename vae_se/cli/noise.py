"""``vae-se noise``: learn a dictionary of noise from recordings of it, and look at one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..audio import files
from ..errors import OutputError, UsageError
from .common import say

#: Frames that a fit looks at: three minutes of sound, spread over all of it. More cost time and change little.
_FRAMES = 12_000
# Frames 60 dB below the recording's level are its pauses; their shape is that of rounding.
_PAUSE = 1e-6


@click.group(short_help="Learn what a noise is like from recordings of it.")
def noise() -> None:
    """Dictionaries of noise: learnt beforehand, used by vae-se enhance --noise FILE."""


@noise.command()
@click.argument("folder", metavar="DIR")
@click.option("-o", "--out", "output", required=True, metavar="FILE", help="What to write, *.safetensors.")
@click.option("--rank", type=click.IntRange(min=1), default=16, show_default=True, help="Spectra to learn.")
@click.option("--iterations", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the start.")
@click.option(
    "--prior", default="default", show_default=True, metavar="NAME|DIR", help="The prior whose STFT it is for."
)
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def fit(
    folder: str, output: str, rank: int, iterations: int, seed: int, prior: str, overwrite: bool, quiet: bool
) -> None:
    """Learn a dictionary from recordings of noise alone in DIR (searched recursively; or one file).

    Then: vae-se enhance noisy.wav --noise FILE
    """
    from ..noise.store import SUFFIX, NoiseDictionary, save_dictionary

    path = Path(output)
    if path.suffix != SUFFIX:
        raise UsageError(f"--out {output}", f"its name ends in {SUFFIX}, by which --noise knows it")
    files.prepare_folder(path)
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists", "give --overwrite, or another --out")

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
            f"divergence {divergence:.2f} a bin (0.58 where the model is the truth)"
        )


@noise.command()
@click.argument("file", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="A JSON object.")
def show(file: str, as_json: bool) -> None:
    """What a dictionary was learnt from, and where each of its spectra lies."""
    from ..noise.store import load_dictionary

    dictionary = load_dictionary(file)
    header = dictionary.header()
    bins = dictionary.atoms.shape[1]
    share = dictionary.atoms.cumsum(-1) / dictionary.atoms.sum(-1, keepdim=True)
    # The frequencies below which a twentieth, half and all but a twentieth of an atom's power lie.
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
