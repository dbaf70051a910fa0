"""The model card of a noisy encoder: architecture, data, training command and validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..noisy_encoder.store import ARCHITECTURES, architecture_sizes, steps_done
from ..storage.atomic import write_atomically
from .card import command_block, command_lines, data_lines
from .progress import clock
from .report import CURVES, HISTORY, Record, read_history

_NOISE = {
    "simulated": "simulated from the noise model (`vae_se/noisy_encoder/simulation`); no recording of "
    "noise was used.",
    "pool": "simulated (docs/simulation.md), drawn beforehand by `vae-se noise pool`; no recording of noise "
    "was used.",
    "recorded": "cut from recordings (`--noise` in the command below).",
}

_NETWORK = {
    "recurrent": "two recurrent layers of {hidden_size} units per direction, a projection to {width} units",
    "convolutional": "two strided convolutions over bands and time ({channels} and more channels), {blocks} "
    "residual blocks of dilated convolutions of {width} units over time",
}

_OUTPUTS = {"recurrent": "", "convolutional": ", a deviation of the speech's spectrum from the decoder's"}

#: Columns of the validation table: figure, heading, digits. A column is left out where no record has it.
_COLUMNS = (
    ("speech", "-log p(s given z)", 2),
    ("kl", "KL", 2),
    ("noise", "-log p(noise)", 2),
    ("distance", "distance", 4),
    ("sdr", "-SDR (dB)", 2),
    ("coverage", "coverage", 3),
    ("gain_db", "gain (dB)", 2),
    ("noise_coverage", "coverage, noise", 3),
    ("again_distance", "distance, asked again", 4),
    ("again_gain_db", "gain, asked again (dB)", 2),
)

_ROWS = 10  # of the validation table, at most


def write_card(folder: Path, config: dict[str, Any]) -> None:
    """Write README.md of the noisy encoder in ``folder``, from its config.json and history."""
    write_atomically(folder / "README.md", card(config, history_of(folder, config)).encode())


def history_of(folder: Path, config: dict[str, Any]) -> list[Record]:
    """The records of all validations; release 0.1.0 kept them in config.json."""
    if "history" in config["training"]:
        records: list[Record] = config["training"]["history"]
        return records
    return read_history(folder / HISTORY)


def card(config: dict[str, Any], history: Sequence[Record]) -> str:
    """The text of the card, Markdown. Missing information is stated as missing."""
    training, model = config["training"], config["model"]
    options = training["options"]
    architecture = config.get("architecture", "recurrent")
    with torch.device("meta"):  # no memory is allocated
        parameters = sum(p.numel() for p in ARCHITECTURES[architecture](**model).parameters())
    form = (
        "causal: the output of a frame depends on the frames up to it"
        if model["causal"]
        else "two-way: the output of a frame depends on the whole recording"
    )
    network = _NETWORK[architecture].format(**architecture_sizes(config))
    if model.get("noise_aware"):
        network += ", inputs for the variances that EM has found"
    if model.get("noise_width"):
        network += ", a width of the noise's variance"
    files = "`weights.safetensors` holds the weights (float16), `config.json` all figures of this card"
    lines = [
        "# Noisy encoder",
        "",
        "A network whose input is a noisy recording and whose output is, for each frame, a Gaussian over the "
        f"latents of a speech prior{_OUTPUTS[architecture]} and a variance of the noise. EM of `vae-se "
        "enhance` starts from them (docs/noisy-encoder.md).",
        "",
        f"- Prior: it belongs to the weights with the digest `{config['prior']}`, and fits no other.",
        f"- Architecture: {network}, {model['bins']} bins, {model['latent_dim']} latents; {parameters:,} "
        f"parameters; {form}.",
        f"- Files: {files}{'' if 'history' in training else f', `{HISTORY}` all validations'}.",
        "",
        *data_lines(training),
        *_speech(training),
        f"Training speech: {training['speech_hours']:.2f} hours. Noise: {_NOISE[training['noise']]}",
        "",
        *_pool(training),
        *command_lines(training),
        *_start(training),
        *([training["note"], ""] if training.get("note") else []),
        f"Seed {training['seed']}; {steps_done(training)} steps of {options['batch']} mixtures of "
        f"{options['seconds']:g} s. Training took {clock(training['seconds'])} ({training['seconds']:.0f} s) "
        f"on {training['machine']}." + ("" if "last" not in training else f" Curves: `{CURVES}`."),
        "",
        "## Validation",
        "",
        *_validation(history),
        "",
        "## Limits",
        "",
        "- It was trained on noise of the kind above. For other noise its output is less accurate, and EM "
        "starts further from the solution.",
        "- It expects one channel of speech at the level of its prior, in the languages and voices of the "
        "data.",
        "- It is made for EM, which starts from its output and fits the noise of the recording at hand.",
        "",
    ]
    return "\n".join(lines)


def _speech(training: dict[str, Any]) -> list[str]:
    """Table of the folders of training speech."""
    if "speech" not in training:
        return []
    total = sum(entry["weight"] for entry in training["speech"])
    rows = [
        f"| `{entry['folder']}` | {entry['files']} | {entry['speakers'] or 'not told'} | {entry['hours']:.2f} "
        f"| {entry['weight'] / total:.0%} |"
        for entry in training["speech"]
    ]
    return ["| speech | files | speakers | hours | part of the mixtures |", "|---|---|---|---|---|", *rows, ""]


def _pool(training: dict[str, Any]) -> list[str]:
    """The pool of noise: size, seed and classes."""
    if "pool" not in training:
        return []
    pool, valid = training["pool"], training["valid_pool"]
    classes = ", ".join(f"{name} {count}" for name, count in pool["classes"].items())
    voices = training["mixtures"]["talkers"] + training["mixtures"]["crowd"]
    return [
        f"The pool holds {pool['items']} noises of {pool['seconds']:g} s, seed {pool['seed']}; validation has "
        f"{valid['items']} others, seed {valid['seed']}. Number of each class: {classes}. Every use cuts, "
        f"filters and mixes them anew; the noise of {voices:.0%} of the mixtures includes voices from the "
        "clean speech.",
        "",
    ]


def _start(training: dict[str, Any]) -> list[str]:
    """The trainings before this one, the last first."""
    if "start" not in training:
        return []
    start = training["start"]
    return [
        f"Its initial weights are those after {start['steps']} steps of another training, which took "
        f"{clock(start['seconds'])}. The figures below include it. Its command:",
        "",
        *command_block(start["command"]),
        *([start["note"], ""] if start["note"] else []),
        *_start(start),
    ]


def _validation(history: Sequence[Record]) -> list[str]:
    """What the figures mean, and the table of quality against training time."""
    columns = [column for column in _COLUMNS if f"valid_{column[0]}" in history[-1]]
    names = [name for name, _, _ in columns]
    text = (
        "Means per frame in nats, less constants, over mixtures of the validation speech. The gain is the "
        "increase in SNR by the Wiener filter from the network's output, without EM."
    )
    if "coverage" in names:
        text += (
            " Distance and SDR are between that filter's output, with a draw of z, and the clean speech. "
            "Coverage is how often the mean of the clean frame's posterior lies in the central 90 % interval "
            "of the network's covariance."
        )
    if "noise_coverage" in names:
        text += (
            " That of the noise is how often its power in a bin lies between the 5 % and the 95 % quantile "
            "under the network's log-normal variance."
        )
    if "again_gain_db" in names:
        text += (
            " Asked again: with the variances of speech and noise that one to four iterations of EM have found "
            "from the first answer."
        )
    return [
        text,
        "",
        f"| step | hours | {' | '.join(heading for _, heading, _ in columns)} |",
        "|---|---|" + "---|" * len(columns),
        *(_row(record, columns) for record in _chosen(history)),
    ]


def _chosen(history: Sequence[Record]) -> list[Record]:
    """At most ten records, evenly spaced from the first to the last."""
    last, count = len(history) - 1, min(_ROWS, len(history))
    return [history[round(i * last / max(1, count - 1))] for i in range(count)]


def _row(record: Record, columns: Sequence[tuple[str, str, int]]) -> str:
    # A training that started from another one has its records too, and these may have fewer figures.
    names = [(f"valid_{name}", digits) for name, _, digits in columns]
    values = [f"{record[name]:.{digits}f}" if name in record else "" for name, digits in names]
    return f"| {record['step']} | {record['seconds'] / 3600:.2f} | " + " | ".join(values) + " |"
