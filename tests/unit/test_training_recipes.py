"""Recipes: names, overrides, and errors that name the nearest key."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from vae_se.errors import UsageError
from vae_se.priors import PRIORS
from vae_se.training import schedule
from vae_se.training.recipes import load_recipe, names


def test_the_lab_stack_is_the_lab_s() -> None:
    recipe = load_recipe("lab")
    assert recipe.model == {"hidden": [32, 64, 128, 256], "latent_dim": 16, "activation": "tanh"}
    assert (recipe.signal.rate, recipe.signal.window, recipe.signal.hop) == (16000, 1024, 256)


def test_every_recipe_loads_and_round_trips() -> None:
    assert {"lab", "default"} <= set(names())
    for name in names():
        recipe = load_recipe(name)
        prior = PRIORS[recipe.architecture](**recipe.model, signal=recipe.signal)
        assert (recipe.train.sequence_frames > 0) == (not prior.factorised)


def test_overrides_with_and_without_their_table() -> None:
    recipe = load_recipe("lab", ["train.epochs=3", "hidden=[8, 9]", "beta=2", "activation=silu"])
    assert recipe.train.epochs == 3
    assert recipe.model["hidden"] == [8, 9]
    assert recipe.train.beta == 2
    assert recipe.model["activation"] == "silu"


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("train.epoch=3", "train.epochs"),
        ("learning_rat=1", "learning_rate"),
        ("hiden=[3]", "hidden"),
        ("train.epochs", "key=value"),
        ("train.epochs=many", "int"),
        ("train.epochs=0", "above zero"),
        ("train.beta=-1", "negative"),
        ("architecture=ffva", "ffvae"),
    ],
)
def test_wrong_overrides_say_what_to_do(override: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_recipe("default", [override])
    assert hint in caught.value.hint


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        load_recipe("defalt")
    assert "default" in caught.value.hint


def test_recipe_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[model]\nhidden = [4]\n[train]\nepochs = 2\n")
    assert load_recipe(str(path)).train.epochs == 2
    path.write_text("[trian]\nepochs = 2\n")
    with pytest.raises(UsageError) as caught:
        load_recipe(str(path))
    assert "train" in caught.value.hint


def test_learning_rate_rises_then_falls() -> None:
    rates = [schedule.learning_rate(s, 1000, 1e-3, 100, 0.01) for s in range(1000)]
    assert rates[0] == pytest.approx(1e-5)
    assert rates[99] == pytest.approx(1e-3)
    assert all(a >= b for a, b in itertools.pairwise(rates[99:]))
    assert rates[-1] == pytest.approx(1e-5, rel=0.01)
    # A training of a few steps still warms up and still reaches the top.
    assert max(schedule.learning_rate(s, 20, 1e-3, 100, 0.0) for s in range(20)) == pytest.approx(1e-3)


def test_beta_rises_linearly() -> None:
    assert schedule.beta(0, 10, 2.0, 2.0) == 0
    assert schedule.beta(10, 10, 2.0, 2.0) == pytest.approx(1)
    assert schedule.beta(20, 10, 2.0, 2.0) == 2
    assert schedule.beta(0, 10, 2.0, 0.0) == 2
