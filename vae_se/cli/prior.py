"""``vae-se prior``: list, show, verify, sample, plot and morph with speech priors."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import PriorError
from ..extras import need
from .common import say
from .morph import morph
from .outputs import new_file, write_voice

if TYPE_CHECKING:
    from ..priors import SpeechPrior

#: Frames that ``verify`` generates: speech and the pause before it, which priors with memory begin with.
_FRAMES = 256
_NAME = click.argument("name", default="default", metavar="[NAME|DIR]")


@click.group(short_help="List, show, verify, sample and plot speech priors.")
def prior() -> None:
    """Speech priors: shipped ones by name, others by folder."""


@prior.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per prior.")
def list_(as_json: bool) -> None:
    """List the shipped priors."""
    from ..priors import store

    names = store.names()
    width = max(map(len, names), default=0)
    for name in names:
        config = store.read_config(store.locate(name))
        if as_json:
            click.echo(json.dumps({"name": name, "folder": str(store.locate(name)), **config}))
        else:
            click.echo(f"{name:<{width}}  {_line(config)}")
    if not names:
        say(f"no prior in {store.pretrained_folder()}; vae-se train writes one")


@prior.command()
@_NAME
@click.option("--json", "as_json", is_flag=True, help="Print config.json.")
def show(name: str, as_json: bool) -> None:
    """Show architecture, signal, training and scores of a prior, and its noisy encoder."""
    from ..noisy_encoder.store import CAUSAL_FOLDER, folder_beside
    from ..priors import store

    folder = store.locate(name)
    config = store.read_config(folder)
    if as_json:
        click.echo(json.dumps(config, indent=2))
        return
    click.echo(f"folder = {folder}")
    for line in _tree(config):
        click.echo(line)
    click.echo(f"noisy_encoder = {_noisy_encoder(folder_beside(folder))}")
    click.echo(f"noisy_encoder_causal = {_noisy_encoder(folder / CAUSAL_FOLDER)}")


@prior.command()
@_NAME
@click.option("--data", metavar="DIR", help="Folder of clean speech for the ELBO.")
@click.option(
    "--files", "limit", type=click.IntRange(min=1), default=20, show_default=True, help="Number of its files."
)
@click.option("--json", "as_json", is_flag=True, help="A JSON object.")
def verify(name: str, data: str | None, limit: int, as_json: bool) -> None:
    """Check that a prior loads and decodes finite spectra; with --data, that clean speech is likely under it.

    Its noisy encoder, if it has one, must load and belong to these weights. The exit code is 1 if a check
    fails.
    """
    import torch

    from ..noisy_encoder.store import CAUSAL_FOLDER, FOLDER, folder_beside, load_noisy_encoder
    from ..priors import load_prior, store
    from ..rng import torch_stream

    model = load_prior(name)
    result: dict[str, Any] = {
        "prior": name,
        "folder": str(store.locate(name)),
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    with torch.no_grad():
        log_variance = model.decode(model.sample(_FRAMES, torch_stream(0, "verify")))
        if log_variance.shape[-2:] != (_FRAMES, model.signal.stft.bins) or not log_variance.isfinite().all():
            raise PriorError(f"{name} does not decode to finite spectra", "retrain it")
        result["generated_db"] = round(float(log_variance.mean()) * 10 / math.log(10), 2)
        folder = store.locate(name)
        for key, beside in ((FOLDER, folder_beside(folder)), (CAUSAL_FOLDER, folder / CAUSAL_FOLDER)):
            if not beside.is_dir():
                continue
            network = load_noisy_encoder(beside, model)
            power = log_variance[:, 0].exp()
            encoding = network(power, torch.ones_like(power[..., 0]))
            if not (encoding.posterior.mean.isfinite().all() and encoding.log_noise.isfinite().all()):
                raise PriorError(f"the output of {beside} for spectra of the prior is not finite", "retrain it")
            result[f"{key}_parameters"] = sum(p.numel() for p in network.parameters())
        if data is not None:
            result |= _elbo(model, data, limit)
    if as_json:
        click.echo(json.dumps(result))
    else:
        for key, value in result.items():
            click.echo(f"{key} = {value}")
        click.echo("ok")


def _elbo(model: SpeechPrior, folder: str, limit: int) -> dict[str, Any]:
    """Terms of the negative ELBO per frame with one draw, and -log p of the mean spectrum for comparison.

    Raises PriorError where the negative ELBO is not finite, or larger than the latter.
    """
    import torch

    from ..likelihood import LOG_PI, complex_gaussian_log_prob, itakura_saito
    from ..numerics import POWER_FLOOR
    from ..rng import torch_stream
    from .speech import powers

    spectra, _ = powers(folder, model, limit)
    generator = torch_stream(0, "verify", "elbo")
    mean_spectrum = torch.cat(spectra).mean(0) + POWER_FLOOR
    frames = 0
    reconstruction = divergence = kl = flat = 0.0
    for power in spectra:
        power = power.unsqueeze(0)
        result = model.reconstruct(power, generator)
        reconstruction += float((model.nll(power, result.log_variance) + power.shape[-1] * LOG_PI).sum())
        divergence += float(itakura_saito(power + POWER_FLOOR, result.log_variance.exp()).sum())
        kl += float(result.kl.sum())
        flat -= float(complex_gaussian_log_prob(power + POWER_FLOOR, mean_spectrum.log()).sum())
        frames += power.shape[1]
    if not math.isfinite(reconstruction + kl):
        raise PriorError("the ELBO is not finite", "retrain the prior")
    if reconstruction + kl > flat:
        raise PriorError(
            f"the negative ELBO is {(reconstruction + kl) / frames:.0f} nats per frame, more than the "
            f"{flat / frames:.0f} of a constant mean spectrum",
            "does the folder hold clean speech, and is the prior trained?",
        )
    return {
        "files": len(spectra),
        "frames": frames,
        "itakura_saito_per_frame": round(divergence / frames, 2),
        "negative_log_likelihood_per_frame": round(reconstruction / frames, 2),
        "kl_per_frame": round(kl / frames, 2),
        "mean_spectrum_negative_log_likelihood_per_frame": round(flat / frames, 2),
    }


@prior.command()
@_NAME
@click.option(
    "-o", "--output", default="prior_voice.wav", show_default=True, metavar="FILE", help="Sound file."
)
@click.option("--seconds", type=click.FloatRange(0.01, 600), default=5.0, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--smooth",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.9,
    show_default=True,
    help="Correlation of the latents from frame to frame (0: independent frames).",
)
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
def sample(name: str, output: str, seconds: float, seed: int, smooth: float, overwrite: bool) -> None:
    """Write sound generated from random latents."""
    from ..priors import load_prior
    from ..priors.voice import sample_voice
    from ..rng import torch_stream

    path = new_file(output, overwrite)
    model = load_prior(name)
    sound = sample_voice(model, seconds, torch_stream(seed, "voice"), smooth).numpy()
    write_voice(sound, model.signal, path)


@prior.command()
@_NAME
@click.option("--data", metavar="DIR", required=True, help="Folder of speech; its subfolders are the speakers.")
@click.option(
    "--files", "limit", type=click.IntRange(min=1), default=100, show_default=True, help="Number of its files."
)
@click.option(
    "-o", "--output", default="prior_latent.png", show_default=True, metavar="FILE", help="Image file."
)
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
def plot(name: str, data: str, limit: int, output: str, overwrite: bool) -> None:
    """Plot the latent space: encoded speech by energy and by speaker, and decoded spectra."""
    from ..plots import latent
    from ..priors import load_prior
    from .speech import powers

    need("a plot", "matplotlib", "plot")
    path = new_file(output, overwrite)
    model = load_prior(name)
    spectra, found = powers(data, model, limit)
    encoded = latent.encode(model, spectra, [path.parent.name for path in found])  # a folder a speaker
    latent.draw(model, encoded, path, title=f"prior {name}: {len(encoded.mean)} frames of {data}")
    say(f"wrote {path}")


prior.add_command(morph)


def _noisy_encoder(folder: Path) -> str:
    """Description of the noisy encoder in ``folder`` in one line."""
    from ..noisy_encoder.store import architecture_sizes, read_config, steps_done

    if not folder.is_dir():
        return "none (vae-se train --amortise writes one)"
    config = read_config(folder)
    training = config["training"]
    sizes = ", ".join(f"{k.replace('_', ' ')} {size}" for k, size in architecture_sizes(config).items())
    return (
        f"{config.get('architecture', 'recurrent')}, {'causal' if config['model']['causal'] else 'two-way'}, "
        f"{sizes}, {steps_done(training)} steps on {training['noise']} noise ({folder})"
    )


def _line(config: dict[str, Any]) -> str:
    """Description of a prior in one line."""
    signal, model = config["signal"], config["model"]
    size = ", ".join(f"{k} {v}" for k, v in model.items() if isinstance(v, (int, float, str)))
    stft = f"window {signal['window']}, hop {signal['hop']}"
    return f"{config['architecture']} ({size}), {signal['rate']} Hz, {stft}"


def _tree(tree: dict[str, Any], prefix: str = "") -> list[str]:
    """Nested entries as lines ``a.b = value``."""
    lines = []
    for key, value in tree.items():
        if isinstance(value, dict):
            lines += _tree(value, f"{prefix}{key}.")
        else:
            lines.append(f"{prefix}{key} = {value if isinstance(value, str) else json.dumps(value)}")
    return lines
