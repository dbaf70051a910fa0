"""Write the folder of a noisy encoder from the export and log of a training by an earlier script.

    python eval/scripts/import_noisy_encoder.py TRAINING pretrained/default/noisy_encoder \\
        --speech FOLDER=WEIGHT ... --valid DIR --noise-pool DIR --valid-pool DIR [--cache DIR] \\
        [--note TEXT|@FILE] [--data-note TEXT|@FILE] [--licence TEXT|@FILE]

TRAINING holds export/ and log.jsonl. The result is what `vae-se train --amortise` writes: weights (float16),
config.json, history.jsonl, curves.svg and the card. The command in the card is the one of `vae-se train` that
repeats the training with these folders; --note says in what the actual training differed. Figures of the log
with the prefix `new_` (mixtures of --valid with --valid-pool) become `valid_`; those with `old_` become
`accented_`.
"""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

from vae_se.noisy_encoder.store import load_noisy_encoder, read_config
from vae_se.priors import load_prior
from vae_se.training.noisy_encoder import NoisyEncoderJob, NoisyEncoderOptions, SpeechFolder, write_results
from vae_se.training.noisy_encoder_data import open_data
from vae_se.training.report import CURVES, plot_noisy_encoder_curves, read_history

PREFIXES = {"new_": "valid_", "old_": "accented_"}
MACHINE = "one core of a shared x86_64 machine; the time is that of the processor"


def renamed(record: dict[str, Any]) -> dict[str, Any]:
    """A record of the log under the names of a history."""
    out = {"step": record["step"], "seconds": record["seconds"]}
    for key, value in record.items():
        for old, new in {"train_": "train_", **PREFIXES}.items():
            if key.startswith(old):
                out[new + key.removeprefix(old)] = value
    return out


def options_of(config: dict[str, Any]) -> NoisyEncoderOptions:
    """The options of the training, whose length was planned by the start and the length of the decay."""
    values = dict(config["training"]["options"])
    begins, length = values.pop("decay_from"), values.pop("decay_steps")
    values["steps"] = begins + length if length else config["training"]["history"][-1]["step"]
    values["decay"] = round(length / values["steps"], 4)
    return NoisyEncoderOptions(**values)


def text(value: str) -> str:
    """``value`` itself, or the content of the file after an @."""
    return Path(value[1:]).read_text().strip() if value.startswith("@") else value


def command(given: argparse.Namespace, options: NoisyEncoderOptions) -> str:
    """The command of vae-se that repeats the training."""
    words = ["vae-se", "train", *given.speech, "--amortise", given.prior, "--out", str(given.out)]
    words += ["--valid", str(given.valid), "--noise-pool", str(given.noise_pool)]
    words += ["--valid-pool", str(given.valid_pool), "--threads", "1"]
    words += [word for setting in options.given() for word in ("--set", setting)]
    for name in ("data_note", "licence"):
        if getattr(given, name):
            words += [f"--{name.replace('_', '-')}", getattr(given, name)]
    return shlex.join(words)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("training", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--prior", default="default")
    parser.add_argument("--speech", nargs="+", required=True)
    parser.add_argument("--valid", type=Path, required=True)
    parser.add_argument("--noise-pool", type=Path, required=True)
    parser.add_argument("--valid-pool", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--note", default="")
    parser.add_argument("--data-note", default="")
    parser.add_argument("--licence", default="")
    given = parser.parse_args()
    prior = load_prior(given.prior, "cpu")
    model = load_noisy_encoder(given.training / "export", prior)
    options = options_of(read_config(given.training / "export"))
    job = NoisyEncoderJob(
        data=[SpeechFolder.of(folder) for folder in given.speech], prior=given.prior, options=options,
        out=given.out, valid=given.valid, noise_pool=given.noise_pool, valid_pool=given.valid_pool,
        cache=given.cache, data_note=text(given.data_note), licence=text(given.licence),
        command=command(given, options),
    )  # fmt: skip
    data = open_data(job, prior, print)
    log = [renamed(record) for record in read_history(given.training / "log.jsonl")]
    history = [record for record in log if "valid_loss" in record]
    record = job.record(history[-1]["seconds"]) | {"machine": MACHINE, "note": text(given.note)}
    given.out.mkdir(parents=True, exist_ok=True)
    config = write_results(job, model, prior, data, record, history)
    plot_noisy_encoder_curves(given.out / CURVES, history)
    print(json.dumps(config["training"]["last"]))


if __name__ == "__main__":
    main()
