"""The model card of a noisy encoder: architecture, data, training command and validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..noisy_encoder import NoisyEncoder
from ..storage.atomic import write_atomically
from .progress import clock

_NOISE = {
    "simulated": "simulated from the noise model (`vae_se/noisy_encoder/simulation`); no recording of "
    "noise was used.",
    "recorded": "cut from recordings (`--noise` in the command below).",
}


def write_card(folder: Path, config: dict[str, Any]) -> None:
    """Write README.md of the noisy encoder in ``folder``, from its config.json."""
    write_atomically(folder / "README.md", card(config).encode())


def card(config: dict[str, Any]) -> str:
    """The text of the card, Markdown. Missing information is stated as missing."""
    training, model = config["training"], config["model"]
    options = training["options"]
    with torch.device("meta"):  # no memory is allocated
        parameters = sum(p.numel() for p in NoisyEncoder(**model).parameters())
    form = (
        "causal: the output of a frame depends on the frames up to it"
        if model["causal"]
        else "two-way: the output of a frame depends on the whole recording"
    )
    lines = [
        "# Noisy encoder",
        "",
        "A network whose input is a noisy recording and whose output is, for each frame, a Gaussian over the "
        "latents of a speech prior and a variance of the noise. `vae-se enhance` initialises EM with both "
        "(docs/noisy-encoder.md).",
        "",
        f"- Prior: it belongs to the weights with the digest `{config['prior']}`, and fits no other.",
        f"- Architecture: two recurrent layers of {model['hidden_size']} units per direction, a projection to "
        f"{model['width']} units, {model['bins']} bins, {model['latent_dim']} latents; {parameters:,} "
        f"parameters; {form}.",
        "- Files: `weights.safetensors` holds the weights (float16), `config.json` all figures of this card.",
        "",
        "## Data",
        "",
        training.get("data_note") or "The speech was not described.",
        "",
        f"Licence of the data: {training.get('licence') or 'not stated.'}",
        "",
        f"Training speech: {training['speech_hours']:.2f} hours. Noise: {_NOISE[training['noise']]}",
        "",
        "## Training",
        "",
        "```",
        training["command"] or "(from Python)",
        "```",
        "",
        f"Seed {training['seed']}; {options['steps']} steps of {options['batch']} mixtures of "
        f"{options['seconds']:g} s. Training took {clock(training['seconds'])} ({training['seconds']:.0f} s) "
        f"on {training['machine']}.",
        "",
        "## Validation",
        "",
        "Means per frame in nats, less constants, over mixtures of the validation speech. The gain is the "
        "increase in SNR by the Wiener filter from the network's output, without EM.",
        "",
        "| step | -log p(s given z) | KL | -log p(noise) | gain (dB) |",
        "|---|---|---|---|---|",
        *(_row(record) for record in _chosen(training["history"])),
        "",
        "## Limits",
        "",
        "- It was trained on noise of the kind above. For other noise its output is less accurate, and EM "
        "starts further from the solution.",
        "- It expects one channel of speech at the level of its prior, in the languages and voices of the "
        "data.",
        "- It does not enhance by itself: it initialises EM and is a proposal for the latents.",
        "",
    ]
    return "\n".join(lines)


def _chosen(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first, the middle and the last record, each once."""
    return [history[i] for i in sorted({0, len(history) // 2, len(history) - 1})]


def _row(record: dict[str, Any]) -> str:
    values = (record[f"valid_{name}"] for name in ("speech", "kl", "noise", "gain_db"))
    return f"| {record['step']} | " + " | ".join(f"{value:.2f}" for value in values) + " |"
