"""Model cards and curves of the shipped priors are those that the code writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vae_se.noisy_encoder import store as noisy_encoder_store
from vae_se.priors import store
from vae_se.training import noisy_encoder_card
from vae_se.training.card import card, write_card
from vae_se.training.report import CURVES, HISTORY, plot_curves, read_history, write_history


@pytest.mark.parametrize("name", store.names())
def test_a_shipped_card_is_what_the_code_writes(name: str, tmp_path: Path) -> None:
    folder = store.locate(name)
    config = store.read_config(folder)
    assert (folder / "README.md").read_text() == card(name, config)
    write_card(tmp_path, config)
    assert (tmp_path / "README.md").read_text() == card(tmp_path.name, config)


@pytest.mark.parametrize(
    ("name", "causal"), [(noisy_encoder_store.FOLDER, False), (noisy_encoder_store.CAUSAL_FOLDER, True)]
)
def test_so_is_the_card_of_the_noisy_encoder(name: str, causal: bool) -> None:
    folder = store.locate("default") / name
    config = noisy_encoder_store.read_config(folder)
    history = noisy_encoder_card.history_of(folder, config)
    assert (folder / "README.md").read_text() == noisy_encoder_card.card(config, history)
    assert f"--out pretrained/default/{name} " in config["training"]["command"]
    assert config["model"]["causal"] is causal


def test_missing_information_is_stated() -> None:
    config = store.read_config(store.locate("default"))
    config["training"] |= {"data_note": "", "licence": "", "command": ""}
    text = card("mine", config | {"scores": None})
    for expected in ("was not described", "not stated", "(from Python)", "was not scored"):
        assert expected in text


@pytest.mark.parametrize("name", store.names())
def test_shipped_curves_are_small_and_those_of_the_history(name: str, tmp_path: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    folder = store.locate(name)
    shipped = (folder / CURVES).read_bytes()
    assert len(shipped) < 20_000
    best = store.read_config(folder)["training"]["best"]["epoch"]
    history = read_history(folder / HISTORY)
    written = []
    for number in range(2 if name == "default" else 1):  # twice: the same bytes
        assert plot_curves(tmp_path / f"{number}.svg", history, best)
        written.append((tmp_path / f"{number}.svg").read_bytes())
    assert written[0] == written[-1]
    assert [p.name for p in tmp_path.glob(".*")] == []
    if matplotlib.__version__ == "3.11.2":  # others may place ticks differently
        assert written[0] == shipped


def test_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    history = [{"epoch": 0, "valid_loss": -1.5}, {"epoch": 1, "valid_loss": -2.5}]
    write_history(tmp_path / HISTORY, history)
    assert read_history(tmp_path / HISTORY) == history
    assert json.loads((tmp_path / HISTORY).read_text().splitlines()[1]) == history[1]
