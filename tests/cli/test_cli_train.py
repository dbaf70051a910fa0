"""``vae-se train`` as a person types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vae_se.cli import main
from vae_se.priors import load_prior

SMALL = ["--set", "rate=8000", "--set", "window=256", "--set", "hop=64", "--set", "hidden=[8, 16]",
         "--set", "latent_dim=2", "--set", "epochs=1", "--score-files", "0", "--threads", "1"]  # fmt: skip


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return int(caught.value.code or 0)


@pytest.fixture
def speech(tmp_path: Path, make_speech: Callable[..., np.ndarray]) -> Path:
    for speaker in range(4):
        folder = tmp_path / "speech" / f"s{speaker}"
        folder.mkdir(parents=True)
        soundfile.write(folder / "a.wav", make_speech(2.0, 8000, speaker), 8000)
    return tmp_path / "speech"


def test_trains_and_names_files_that_it_left_out(speech: Path, tmp_path: Path, capsys) -> None:
    (speech / "s0" / "torn.wav").write_bytes(b"no audio")
    out = tmp_path / "prior"
    (tmp_path / "note.txt").write_text("Made up.\n")
    arguments = ["train", str(speech), "--out", str(out), "--cache", str(tmp_path / "cache"), *SMALL]
    assert call(*arguments, "--data-note", f"@{tmp_path / 'note.txt'}") == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "1 of 5 files left out" in captured.err
    assert "epoch 1/1" in captured.err
    assert load_prior(out).signal.rate == 8000
    assert "Made up." in (out / "README.md").read_text()
    assert call(*arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert call(*arguments, "--overwrite", "-q", "--tensorboard") == 0
    assert list((out / "tensorboard").iterdir())


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--set", "epocs=1"], "epochs"),
        (["--recipe", "labb"], "lab"),
        (["--device", "abacus"], "cpu"),
        (["--valid", "/nowhere"], "folder of clean speech"),
        (["--valid-fraction", "2"], "between 0 and 1"),
    ],
)
def test_usage_errors_exit_with_2_and_say_what_to_do(
    speech: Path, tmp_path: Path, capsys, arguments: list[str], hint: str
) -> None:
    cache = ["--cache", str(tmp_path / "cache")]
    assert call("train", str(speech), "--out", str(tmp_path / "p"), *cache, *SMALL, *arguments) == 2
    error = capsys.readouterr().err
    assert hint in error
    assert "Traceback" not in error


def test_a_recipe_that_starts_from_another_prior(speech: Path, tmp_path: Path, capsys) -> None:
    """With other layers this is an error, whose hint says how to start afresh."""
    out = tmp_path / "p"
    arguments = ["train", str(speech), "--out", str(out), "--cache", str(tmp_path / "cache"), *SMALL]
    arguments += ["--prior", "rvae", "--set", "sequence_frames=8"]
    assert call(*arguments) == 2
    error = capsys.readouterr().err
    assert """--set 'start=""'""" in error
    assert call(*arguments, "--set", 'start=""') == 0
    assert "It started" not in (out / "README.md").read_text()


def test_a_prior_s_name_is_its_recipe_s(tmp_path: Path, capsys) -> None:
    said = []
    for option in ("--prior", "--recipe"):
        assert call("train", str(tmp_path), "--out", "x", option, "gamma-vae", "--print-config") == 0
        said.append(json.loads(capsys.readouterr().out))
    assert said[0] == said[1]
    assert said[0]["architecture"] == "gamma-vae"


def test_print_config(tmp_path: Path, capsys) -> None:
    assert call("train", str(tmp_path), "--out", "x", "--recipe", "lab", "--print-config") == 0
    assert json.loads(capsys.readouterr().out)["model"]["hidden"] == [32, 64, 128, 256]
