"""Weight of the KL term, and number of latents: short trainings of ffvae.

    python eval/prior_training/beta.py ../shared/data/speech/train ../shared/data/speech/valid

Trains on a tenth of the speakers for four epochs with seed 0, and scores every tenth frame of the validation
speech. Varies beta at 16 latents, and the number of latents at beta 1. All models are scored by the ELBO
(beta 1). Appends rows to eval/results/beta_vae.csv (existing rows are kept) and writes the table beta_vae.md.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch
from short import Rows, arguments_of, frames_of, train

from vae_se.training.recipes import load_recipe

BETAS = (0.25, 0.5, 1.0, 2.0, 4.0)
SIZES = (2, 5, 10, 16, 20, 32)
GRID = {"beta": [(beta, 16) for beta in BETAS], "size": [(1.0, size) for size in SIZES if size != 16]}
FIELDS = ["beta", "latent_dim", "epochs", "train_frames", "valid_loss", "valid_reconstruction", "valid_kl",
          "valid_itakura_saito", "valid_active", "seconds"]  # fmt: skip
RESULTS = Path(__file__).resolve().parent.parent / "results"


def table(rows: list[dict[str, str]], arguments: Any) -> str:
    """Markdown with a table over beta and a table over the number of latents."""
    lines = [
        "# The weight of the KL term, and the number of latents",
        "",
        f"    python eval/prior_training/beta.py {arguments.train} {arguments.valid}",
        "",
        f"`{arguments.recipe}`, {arguments.epochs} epochs over {rows[0]['train_frames']} frames (a part of "
        f"{arguments.fraction:g} of the training speakers), validation on every tenth frame; seed 0; "
        f"{platform.machine()}, {arguments.threads} thread(s), torch {torch.__version__}. Means per frame in "
        "nats. Short trainings: to compare, not to quote.",
    ]
    for title, own in (
        ("beta, at 16 latents", [r for r in rows if r["latent_dim"] == "16"]),
        ("number of latents, at beta 1", [r for r in rows if float(r["beta"]) == 1]),
    ):
        lines += ["", f"## {title}", "",
                  "| beta | latents | negative ELBO | reconstruction | KL | Itakura-Saito | active |",
                  "|---|---|---|---|---|---|---|"]  # fmt: skip
        lines += [
            f"| {float(r['beta']):g} | {r['latent_dim']} | {float(r['valid_loss']):.1f} "
            f"| {float(r['valid_reconstruction']):.1f} | {float(r['valid_kl']):.1f} "
            f"| {float(r['valid_itakura_saito']):.1f} | {r['valid_active']} |"
            for r in sorted(own, key=lambda r: (float(r["beta"]), int(r["latent_dim"])))
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = arguments_of(__doc__.splitlines()[0], "ffvae", RESULTS / "beta_vae.csv")
    parser.add_argument("--only", choices=list(GRID), default=None, help="one of the two studies")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    sets = frames_of(arguments)
    rows = Rows(arguments.out, FIELDS, ["beta", "latent_dim"])
    for beta, size in [case for name in GRID if arguments.only in (None, name) for case in GRID[name]]:
        settings = [f"train.epochs={arguments.epochs}", f"beta={beta}", f"latent_dim={size}"]
        key = {"beta": beta, "latent_dim": size, "epochs": arguments.epochs}
        rows.run(key, lambda settings=settings: train(load_recipe(arguments.recipe, settings), sets))
    arguments.out.with_suffix(".md").write_text(table(rows.read(), arguments))


if __name__ == "__main__":
    main()
