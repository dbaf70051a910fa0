"""``vae-se noise``: learn a dictionary of noise spectra, show one, compare noise models, simulate noise."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from ..audio import files
from ..config import PRESETS
from ..errors import OutputError, UsageError
from .common import Choice, say

#: Greatest number of frames in a fit, drawn at random from all: three minutes. More change the result little.
_FRAMES = 12_000
# Frames below this power (-60 dB of the level) are pauses, whose spectrum is that of rounding errors.
_PAUSE = 1e-6


@click.group(short_help="Learn the spectra of a noise; compare noise models; simulate noise.")
def noise() -> None:
    """Noise dictionaries (fit, show): spectra learnt beforehand, for vae-se enhance --noise FILE.

    Noise models (compare): which one fits a recording.

    Simulated noise (pool), for vae-se train --amortise PRIOR --noise-pool DIR.
    """


@noise.command()
@click.argument("folder", metavar="DIR")
@click.option("-o", "--out", "output", required=True, metavar="FILE", help="File to write, *.safetensors.")
@click.option(
    "--rank", type=click.IntRange(min=1), default=16, show_default=True, help="Number of spectra to learn."
)
@click.option("--iterations", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the initialisation.")
@click.option(
    "--prior",
    default="default",
    show_default=True,
    metavar="NAME|DIR",
    help="The prior for whose STFT the spectra are learnt.",
)
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
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
            f"--out {output}", f"use the suffix {SUFFIX}, by which --noise recognises a dictionary"
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
            f"mean divergence {divergence:.2f} (0.58 for a perfect model)"
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
    # Quantiles 5, 50 and 95 % of the power of each atom over frequency.
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


@noise.command()
@click.argument("file", metavar="NOISY")
@click.option(
    "--models",
    metavar="A,B",
    help="Noise models, each a name and perhaps a rank, such as stationary,nmf:4.  [default: seven]",
)
@click.option("--prior", metavar="NAME|DIR", help="The speech prior (vae-se prior list).")
@click.option(
    "--preset", type=Choice(list(PRESETS)), default="default", show_default=True, help="All other settings."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random numbers.")
@click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]", help="Compute device."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, the best model first.")
def compare(
    file: str, models: str | None, prior: str | None, preset: str, seed: int, device: str, as_json: bool
) -> None:
    """Compare noise models and ranks on the recording NOISY, the best one first.

    A tenth of the time-frequency bins is held out, and each model predicts them from the others. score: mean
    log-likelihood of these bins, in nats; behind: how much lower it is than the best one's, with its standard
    error. A model that is behind by less than two standard errors is as good. The first 30 seconds count.
    """
    recording = files.read(Path(file))

    from ..enhancement.enhancer import Enhancer
    from ..enhancement.model_comparison import CANDIDATES, compare_noise

    names = [name.strip() for name in models.split(",")] if models is not None else CANDIDATES
    enhancer = Enhancer.from_pretrained(prior, preset=preset, device=device, seed=seed)
    found = compare_noise(recording.samples, recording.rate, names, enhancer=enhancer, name=Path(file).name)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(one) for one in found]))
        return
    click.echo(f"{'model':<14}{'rank':>5}{'score':>10}{'behind':>10}{'+-':>8}")
    for one in found:
        rank = "" if one.rank is None else one.rank
        click.echo(f"{one.name:<14}{rank:>5}{one.score:>10.4f}{one.behind:>10.4f}{one.error:>8.4f}")
    best = found[0]
    rank = "" if best.rank is None else f" --set noise.rank={best.rank}"
    say(f"vae-se enhance {file} --noise {best.name}{rank}")


@noise.command()
@click.argument("folder", metavar="DIR")
@click.option("--items", type=click.IntRange(2), default=3000, show_default=True, help="Number of noises.")
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 600),
    default=8.0,
    show_default=True,
    metavar="S",
    help="Length of each.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random numbers.")
@click.option(
    "--processes",
    type=click.IntRange(1, 1024),
    default=2,
    show_default=True,
    help="Number of processes; they do not change the result.",
)
@click.option(
    "--prior",
    default="default",
    show_default=True,
    metavar="NAME|DIR",
    help="The prior whose sampling rate and spectra are used.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def pool(folder: str, items: int, seconds: float, seed: int, processes: int, prior: str, quiet: bool) -> None:
    """Simulate noise of all classes (docs/simulation.md) into the folder DIR, and print the number of each.

    3000 noises of 8 s take 770 MB and about four minutes on two cores.
    """
    from ..noisy_encoder.simulation.pool import draw_pool

    drawn = draw_pool(
        Path(folder), prior, items, seconds, seed, processes, say=(lambda _: None) if quiet else say
    )
    for name, count in drawn.counts().items():
        click.echo(f"{name} {count}")
