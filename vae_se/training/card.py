"""The model card: what was trained, on what, by which command, and how good it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..priors import PRIORS
from ..storage.atomic import write_atomically
from .progress import clock


def write_card(folder: Path, name: str, config: dict[str, Any]) -> None:
    """README.md of a prior from its complete config.json; what is not known is said to be not known."""
    write_atomically(folder / "README.md", card(name, config).encode())


def card(name: str, config: dict[str, Any]) -> str:
    """The text of the card, Markdown."""
    training, scores = config["training"], config["scores"]
    data, best = training["data"], training["best"]
    model = ", ".join(f"{key} {value}" for key, value in config["model"].items())
    signal = config["signal"]
    kind = PRIORS[config["architecture"]]
    lines = [
        f"# Speech prior `{name}`",
        "",
        f"{getattr(kind, 'summary', 'A variational autoencoder')} over short-time power spectra of clean "
        f"speech, for `vae-se enhance --prior {name}`.",
        "",
        f"- Architecture: `{config['architecture']}` with {model}; {training['parameters']:,} parameters.",
        f"- SignalSpec: {signal['rate']} Hz, sine window of {signal['window']} samples, hop {signal['hop']}, "
        f"speech at an active RMS (ITU-T P.56) of {signal['active_rms']:g}.",
        "- Weights: `weights.safetensors` (float32); everything here as data: `config.json`.",
        "",
        "## Data",
        "",
        training["data_note"] or "Not described by who trained it.",
        "",
        f"Licence of the data: {training['licence'] or 'not stated by who trained it.'}",
        "",
        "| | files | speakers | hours | frames |",
        "|---|---|---|---|---|",
        *(_data_row(part, data[part]) for part in ("train", "valid")),
        "",
        _split_sentence(data),
        "",
        "## Training",
        "",
        "```",
        training["command"],
        "```",
        "",
        f"Seed {training['seed']}; {training['epochs_run']} epochs, the best on validation is "
        f"number {best['epoch'] + 1}, whose weights these are. {clock(training['seconds'])} on "
        f"{training['machine']}. Curves: `curves.png`, numbers: `history.jsonl`.",
        *_start(training["recipe"]["train"].get("start")),
        "",
        "## Scores",
        "",
        "Validation speech at its own level, means per frame in nats; the negative ELBO is the sum of its "
        "two terms (less F log pi, a constant).",
        "",
        "| negative ELBO | reconstruction | KL | Itakura-Saito | active latents |",
        "|---|---|---|---|---|",
        f"| {best['valid_loss']:.2f} | {best['valid_reconstruction']:.2f} | {best['valid_kl']:.2f} "
        f"| {best['valid_itakura_saito']:.2f} | {_active(kind, training)} |",
        "",
        *_caution(kind),
        f"Of the Itakura-Saito figure {0.5772156649 * training['bins']:.0f} is what one observation of a "
        "complex Gaussian costs under its true variance.",
        "",
        *_score_lines(scores),
        "## Limits",
        "",
        *_order(kind),
        f"- It knows speech at {signal['rate']} Hz, in the languages, voices and rooms named above; voices far "
        "from these are modelled less well.",
        "- Background that the training speech has (room, microphone) counts as speech to it.",
        f"- It is no generator of speech: it has no phase{' and no memory' if kind.factorised else ''}.",
        "",
    ]
    return "\n".join(lines)


def _start(donor: str | None) -> list[str]:
    return [f"It started from the layers of `{donor}`, whose epochs and data come on top."] if donor else []


def _active(kind: Any, training: dict[str, Any]) -> str:
    """Latents whose KL is not zero, where it falls apart by latents."""
    if not getattr(kind, "counts_latents", True):
        return "not counted"
    return f"{training['best']['valid_active']} of {training['latent_dim']}"


def _caution(kind: Any) -> list[str]:
    caution = getattr(kind, "caution", "")
    return [caution, ""] if caution else []


def _order(kind: Any) -> list[str]:
    if kind.factorised:
        return ["- It knows frames, not their order: each frame's latents are drawn independently."]
    return []


def _data_row(part: str, data: dict[str, Any]) -> str:
    label = {"train": "training", "valid": "validation"}[part]
    return f"| {label} | {data['files']} | {data['speakers']} | {data['hours']:.2f} | {data['frames']} |"


def _split_sentence(data: dict[str, Any]) -> str:
    if data["held_out"]:
        return "The validation speakers were held out of the training folder by seed."
    return "The validation speech is a folder of its own."


def _score_lines(scores: dict[str, Any] | None) -> list[str]:
    if not scores or not scores.get("files"):
        return ["Re-synthesis was not scored.", ""]

    def number(name: str, digits: int) -> str:
        return "not measured" if scores[name] is None else f"{scores[name]:.{digits}f}"

    return [
        f"Re-synthesis of {scores['files']} clean validation files: the decoder's standard deviation at the "
        "posterior mean of z, with the phase of the original.",
        "",
        "| SI-SDR (dB) | PESQ-wb | ESTOI |",
        "|---|---|---|",
        f"| {number('si_sdr', 2)} | {number('pesq_wb', 2)} | {number('estoi', 3)} |",
        "",
    ]
