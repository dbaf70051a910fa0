"""The model card of a prior: architecture, data, training command and scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..priors import PRIORS, SpeechPrior
from ..priors.frame import EULER
from ..storage.atomic import write_atomically
from .progress import clock
from .report import CURVES, HISTORY


def write_card(folder: Path, config: dict[str, Any]) -> None:
    """Write README.md of the prior in ``folder``, from its complete config.json."""
    write_atomically(folder / "README.md", card(folder.resolve().name, config).encode())


def card(name: str, config: dict[str, Any]) -> str:
    """The text of the card of the prior ``name``, Markdown. Missing information is stated as missing."""
    training, scores, signal = config["training"], config["scores"], config["signal"]
    data, best = training["data"], training["best"]
    model = ", ".join(f"{key} {value}" for key, value in config["model"].items())
    kind: type[SpeechPrior] = PRIORS[config["architecture"]]
    lines = [
        f"# Speech prior `{name}`",
        "",
        f"{kind.summary}. It models short-time power spectra of clean speech. To enhance speech with it: "
        f"`vae-se enhance --prior {name}`.",
        "",
        f"- Architecture: `{config['architecture']}` with {model}; {training['parameters']:,} parameters.",
        f"- Signal: {signal['rate']} Hz, sine window of {signal['window']} samples, hop {signal['hop']}, "
        f"active RMS of the speech (ITU-T P.56) {signal['active_rms']:g}.",
        "- Files: `weights.safetensors` holds the weights, `config.json` all figures of this card.",
        "",
        *data_lines(training),
        "| | files | speakers | hours | frames |",
        "|---|---|---|---|---|",
        *(_data_row(part, data[part]) for part in ("train", "valid")),
        "",
        _split_sentence(data),
        "",
        *command_lines(training),
        f"Seed {training['seed']}; {_epochs(training)}. The weights are those of epoch "
        f"{best['epoch'] + 1}, the best on validation. Training took {clock(training['seconds'])} on "
        f"{training['machine']}. Figures of each epoch: `{HISTORY}`, drawn in `{CURVES}`.",
        *_start(training),
        "",
        "## Scores",
        "",
        "Means per frame in nats, on validation speech at its own level. The negative ELBO is the sum of "
        "reconstruction and KL; the constant F log pi is left out.",
        "",
        "| negative ELBO | reconstruction | KL | Itakura-Saito | active latents |",
        "|---|---|---|---|---|",
        f"| {best['valid_loss']:.2f} | {best['valid_reconstruction']:.2f} | {best['valid_kl']:.2f} "
        f"| {best['valid_itakura_saito']:.2f} | {_active(kind, training)} |",
        "",
        *([kind.caution, ""] if kind.caution else []),
        "Under the true variance the expected Itakura-Saito divergence of a frame is "
        f"{EULER * training['bins']:.0f}.",
        "",
        *_score_lines(scores),
        "## Limits",
        "",
        *(["- Frames are independent given the model: it has no dynamics."] if kind.factorised else []),
        f"- It models speech at {signal['rate']} Hz in the languages, voices and rooms of the data; other "
        "voices are modelled less well.",
        "- The room and the microphone noise of the training speech are part of the model of speech.",
        "- It does not generate intelligible speech, and it has no phase.",
        "",
    ]
    return "\n".join(lines)


def data_lines(training: dict[str, Any]) -> list[str]:
    """The section on the data: its description and licence, or that they are missing."""
    return [
        "## Data",
        "",
        training.get("data_note") or "The data was not described.",
        "",
        f"Licence of the data: {training.get('licence') or 'not stated.'}",
        "",
    ]


def command_lines(training: dict[str, Any]) -> list[str]:
    """The start of the section on the training: its command."""
    return ["## Training", "", *command_block(training["command"])]


def command_block(command: str) -> list[str]:
    """A command as a block of code."""
    return ["```", command or "(from Python)", "```", ""]


def _start(training: dict[str, Any]) -> list[str]:
    """Where the first weights come from, and how those were trained."""
    donor = training["recipe"]["train"].get("start")
    if not donor:
        return []
    lines = [f"Its layers were initialised from `{donor}`, whose training comes in addition."]
    start = training.get("start", {})
    if "command" in start:
        lines[0] += f" That took {_epochs(start)} and {clock(start['seconds'])}:"
        lines += ["", *command_block(start["command"])]
        lines += [f"Its data: {start['data_note']}"] if start.get("data_note") else []
    return lines


def _active(kind: type[SpeechPrior], training: dict[str, Any]) -> str:
    """Number of active latents, where the KL is a sum over latents."""
    if not kind.counts_latents:
        return "not counted"
    return f"{training['best']['valid_active']} of {training['latent_dim']}"


def _data_row(part: str, data: dict[str, Any]) -> str:
    label = {"train": "training", "valid": "validation"}[part]
    return f"| {label} | {data['files']} | {data['speakers']} | {data['hours']:.2f} | {data['frames']} |"


def _split_sentence(data: dict[str, Any]) -> str:
    if data["held_out"]:
        return "The validation speakers were held out of the training folder by seed."
    return "The validation speech is a separate folder."


def _score_lines(scores: dict[str, Any] | None) -> list[str]:
    if not scores or not scores.get("files"):
        return ["Re-synthesis was not scored.", ""]

    def number(name: str, digits: int) -> str:
        return "not measured" if scores[name] is None else f"{scores[name]:.{digits}f}"

    return [
        f"Re-synthesis of {scores['files']} clean validation files, with the decoder's standard deviations at "
        "the posterior mean of z as magnitudes and the phases of the original:",
        "",
        "| SI-SDR (dB) | PESQ-wb | ESTOI |",
        "|---|---|---|",
        f"| {number('si_sdr', 2)} | {number('pesq_wb', 2)} | {number('estoi', 3)} |",
        "",
    ]


def _epochs(training: dict[str, Any]) -> str:
    """The number of epochs in words."""
    count = training["epochs_run"]
    return f"{count} epoch" + ("" if count == 1 else "s")
