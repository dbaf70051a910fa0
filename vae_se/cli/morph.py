"""``vae-se prior morph``: interpolate between two recordings in the latent space of a prior."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..extras import need
from .common import say
from .outputs import new_file, write_voice

if TYPE_CHECKING:
    from ..priors import SpeechPrior
    from ..priors.morph import Morph


@click.command(short_help="Interpolate between two recordings in the latent space.")
@click.argument("first", metavar="A.wav")
@click.argument("second", metavar="B.wav")
@click.option("--prior", "name", default="default", show_default=True, metavar="NAME|DIR", help="Prior.")
@click.option("-o", "--output", default="morph.wav", show_default=True, metavar="FILE", help="Sound file.")
@click.option(
    "--steps",
    type=click.IntRange(min=2),
    metavar="N",
    help="N files with constant weights, in place of one file whose weight changes over time.",
)
@click.option(
    "--plot", "picture", metavar="FILE", help="Plot both recordings, the interpolation, and their latents."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the initial phases.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
def morph(
    first: str,
    second: str,
    name: str,
    output: str,
    steps: int | None,
    picture: str | None,
    seed: int,
    overwrite: bool,
) -> None:
    """Write sound whose latents are interpolated between those of two recordings.

    It begins like A.wav and ends like B.wav. With --steps N there are N files, from A (OUTPUT with _000
    appended to its name) to B (_100). Both recordings are resampled in time to the mean of their lengths. The
    phases are computed by Griffin and Lim, so the ends are re-syntheses, not the recordings themselves.
    """
    import torch

    from ..data.features import read_normalised
    from ..priors import load_prior
    from ..priors.morph import morph as between
    from ..priors.morph import morphed_sound
    from ..rng import torch_stream

    if picture is not None:
        need("--plot", "matplotlib", "plot")
    weights = [None] if steps is None else [k / (steps - 1) for k in range(steps)]
    plain = Path(output)
    named = [plain if w is None else plain.with_stem(f"{plain.stem}_{round(100 * w):03d}") for w in weights]
    outputs = [new_file(path, overwrite) for path in named]
    drawn = None if picture is None else new_file(picture, overwrite)
    model = load_prior(name)
    a, b = (torch.from_numpy(read_normalised(Path(path), model.signal)) for path in (first, second))
    for weight, path in zip(weights, outputs, strict=True):
        sound = morphed_sound(model, between(model, a, b, weight), torch_stream(seed, "voice")).numpy()
        write_voice(sound, model.signal, path)
    if drawn is not None:
        _draw_morph(model, between(model, a, b, 0.5 if steps else None), (first, second), drawn)
        say(f"wrote {drawn}")


def _draw_morph(model: SpeechPrior, result: Morph, ends: tuple[str, str], path: Path) -> None:
    """Plot an interpolation between the files ``ends``."""
    import torch

    from ..plots import morph as plots

    with torch.no_grad():
        tracks = [result.first, result.between, result.second]
        log_variances = [model.decode(z[None, None])[0, 0].numpy() for z in tracks]
    names = [Path(ends[0]).name, "between", Path(ends[1]).name]
    plots.draw(log_variances, [z.numpy() for z in tracks], names, model.signal, path)
