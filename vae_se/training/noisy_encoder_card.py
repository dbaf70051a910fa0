"""The model card of a noisy encoder: what it is, on what it was trained, and how far it came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..noisy_encoder import NoisyEncoder
from ..storage.atomic import write_atomically
from .progress import clock

_NOISE = {
    "simulated": "Drawn from the noise model itself (`vae_se/noisy_encoder/simulation.py`); no recording of noise "
    "was used.",
    "recorded": "Cut from recordings (`--noise` in the command below).",
}


def write_card(folder: Path, config: dict[str, Any]) -> None:
    """README.md of a noisy encoder from its config.json; what is not known is said to be not known."""
    write_atomically(folder / "README.md", card(config).encode())


def card(config: dict[str, Any]) -> str:
    """The text of the card, Markdown."""
    training, model = config["training"], config["model"]
    options = training["options"]
    with torch.device("meta"):  # to count, not to compute
        parameters = sum(p.numel() for p in NoisyEncoder(**model).parameters())
    form = "causal: it never looks ahead" if model["causal"] else "two-way: it sees the whole recording"
    lines = [
        "# Noisy encoder",
        "",
        "It reads a noisy recording and proposes, frame by frame, a Gaussian over the latents of a speech "
        "prior and a variance of the noise. `vae-se enhance` starts from both, and then fits the model itself: "
        "docs/noisy-encoder.md.",
        "",
        f"- It belongs to the prior whose weights have the fingerprint `{config['prior']}`, and to no other.",
        f"- Architecture: two recurrent layers of {model['hidden_size']} units a direction, a projection of "
        f"{model['width']}, {model['bins']} bins to {model['latent_dim']} latents; {parameters:,} parameters; "
        f"{form}.",
        "- Weights: `weights.safetensors` (float16); everything here as data: `config.json`.",
        "",
        "## Data",
        "",
        training.get("data_note") or "The speech is not described by who trained it.",
        "",
        f"Licence of the data: {training.get('licence') or 'not stated by who trained it.'}",
        "",
        f"Speech to train on: {training['speech_hours']:.2f} hours. Noise: {_NOISE[training['noise']]}",
        "",
        "## Training",
        "",
        "```",
        training["command"] or "(from Python)",
        "```",
        "",
        f"Seed {training['seed']}; {options['steps']} steps of {options['batch']} mixtures of "
        f"{options['seconds']:g} s. {clock(training['seconds'])} ({training['seconds']:.0f} s) on "
        f"{training['machine']}.",
        "",
        "## Validation",
        "",
        "Means per frame, in nats and less constants, over mixtures of the validation speech; the "
        "gain is that in SNR of the Wiener filter from the network's own guesses, before any EM.",
        "",
        "| step | -log p(s given z) | KL | -log p(noise) | gain (dB) |",
        "|---|---|---|---|---|",
        *(_row(record) for record in _chosen(training["history"])),
        "",
        "## Limits",
        "",
        "- It knows noise of the kinds that it was trained on. Where it is wrong, the model corrects it, as "
        "far as the fit finds its way from there.",
        "- It expects speech at the level of its prior, in one channel, in the languages and voices of the "
        "data.",
        "- It is a start and a proposal, no enhancer: nothing of it is heard unless the model agrees.",
        "",
    ]
    return "\n".join(lines)


def _chosen(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first record, the middle one, the last one; each once."""
    return [history[i] for i in sorted({0, len(history) // 2, len(history) - 1})]


def _row(record: dict[str, Any]) -> str:
    values = (record[f"valid_{name}"] for name in ("speech", "kl", "noise", "gain_db"))
    return f"| {record['step']} | " + " | ".join(f"{value:.2f}" for value in values) + " |"
