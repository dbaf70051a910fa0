"""Training from end to end on a minute of synthetic speech: resume, reuse, outputs, errors."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from vae_se.errors import OutputError, PriorError, UsageError
from vae_se.priors import load_prior
from vae_se.training import loop, prior, prior_trainer
from vae_se.training.prior import PriorJob, train_prior
from vae_se.training.recipes import load_recipe

SETTINGS = ["rate=8000", "window=256", "hop=64", "hidden=[32, 64]", "latent_dim=4", "batch_frames=128",
            "epochs=4", "checkpoint_steps=5"]  # fmt: skip


def voice(seconds: float, rate: int, seed: int) -> np.ndarray:
    """Harmonics of a gliding pitch under a moving formant, with pauses, on a faint floor."""
    random = np.random.default_rng(seed)
    t = np.arange(int(seconds * rate)) / rate
    pitch = 120 + 40 * random.random() + 20 * np.sin(2 * np.pi * 0.7 * t + random.random())
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    formant = 900 + 500 * np.sin(2 * np.pi * 1.3 * t + 6 * random.random())
    sound = sum(np.exp(-(((k * pitch - formant) / 400) ** 2)) * np.sin(k * phase) for k in range(1, 20))
    return 0.2 * sound * (np.sin(2 * np.pi * 0.9 * t) > -0.5) + 1e-4 * random.standard_normal(t.size)


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of it, six speakers."""
    folder = tmp_path_factory.mktemp("speech")
    for speaker in range(6):
        (folder / f"speaker{speaker}").mkdir()
        for number in range(5):
            soundfile.write(
                folder / f"speaker{speaker}" / f"{number}.flac", voice(2, 8000, 10 * speaker + number), 8000
            )
    return folder


@pytest.fixture
def job(speech: Path, tmp_path: Path) -> PriorJob:
    torch.manual_seed(0)
    return PriorJob(
        data=speech, out=tmp_path / "prior", recipe=load_recipe("default", SETTINGS),
        cache=speech.parent / "cache", valid_fraction=0.2, score_files=0,
    )  # fmt: skip


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_prior(folder).state_dict()  # type: ignore[attr-defined]


def same(a: Path, b: Path) -> bool:
    left, right = weights(a), weights(b)
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def test_a_minute_of_speech_gives_a_prior(job: PriorJob) -> None:
    state = torch.random.get_rng_state()
    config = train_prior(dataclasses.replace(job, score_files=2, data_note="Synthetic.", licence="CC0."))
    assert torch.equal(state, torch.random.get_rng_state())  # the global generator is not touched
    history = [json.loads(line) for line in (job.out / "history.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in history] == [0, 1, 2, 3]
    assert history[-1]["valid_loss"] < history[0]["valid_loss"]
    best = config["training"]["best"]
    assert best["valid_loss"] == pytest.approx(best["valid_reconstruction"] + best["valid_kl"])
    assert config["training"]["complete"] is True
    assert np.isfinite(config["scores"]["si_sdr"])
    trained = load_prior(job.out)
    assert trained.signal.rate == 8000
    assert (job.out / "curves.svg").stat().st_size > 0
    assert not (job.out / "checkpoint.pt").exists()
    card = (job.out / "README.md").read_text()
    for expected in ("Synthetic.", "CC0.", "Seed 0", "| negative ELBO |", "SI-SDR"):
        assert expected in card


def test_the_card_of_a_further_training_tells_how_the_first_was_made(job: PriorJob, tmp_path: Path) -> None:
    first = dataclasses.replace(job, data_note="Synthetic.", command="vae-se train first")
    train_prior(dataclasses.replace(first, recipe=load_recipe("default", [*SETTINGS, "epochs=1"])))
    recipe = load_recipe("default", [*SETTINGS, "epochs=1", f"start={job.out}"])
    config = train_prior(dataclasses.replace(job, recipe=recipe, out=tmp_path / "further"))
    assert config["training"]["start"]["epochs_run"] == 1
    card = (tmp_path / "further" / "README.md").read_text()
    assert "vae-se train first" in card
    assert "Its data: Synthetic." in card


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ae", "A deterministic autoencoder"),
        ("ffvae-squared-error", "squared error"),
        ("beta-vae", "`ffvae`"),
        ("flow-vae", "planar flows"),
        ("flow-vae-zuko", "spline flow"),
        ("gamma-vae", "gamma distributed"),
    ],
)
def test_every_feed_forward_prior_trains(job: PriorJob, name: str, expected: str) -> None:
    if name == "flow-vae-zuko":
        pytest.importorskip("zuko")
    train_prior(dataclasses.replace(job, recipe=load_recipe(name, [*SETTINGS, "epochs=2"])))
    history = [json.loads(line) for line in (job.out / "history.jsonl").read_text().splitlines()]
    assert history[-1]["valid_loss"] < history[0]["valid_loss"]
    card = (job.out / "README.md").read_text()
    assert expected in card
    counted = name not in ("ae", "flow-vae", "flow-vae-zuko")
    assert (" of 4 |" in card) is counted
    if name == "ae":  # what is known only after training is in the weights
        assert (weights(job.out)["code_log_variance"] < 0).all()


class Killed(Exception):
    pass


@pytest.mark.parametrize("steps", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (5, 23, 61))])
def test_a_killed_run_continues_to_the_same_weights(job: PriorJob, monkeypatch, steps: int) -> None:
    unbroken = dataclasses.replace(job, out=job.out.parent / "unbroken")
    train_prior(unbroken)
    original, count = loop.Trainer._step, 0

    def dying(*arguments: object) -> None:
        nonlocal count
        count += 1
        if count > steps:
            raise Killed
        original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(loop.Trainer, "_step", dying)
    with pytest.raises(Killed):
        train_prior(job)
    monkeypatch.setattr(loop.Trainer, "_step", original)
    assert (job.out / "checkpoint.pt").exists() == (steps >= 5)
    train_prior(job)
    assert same(job.out, unbroken.out)
    ignored = {"seconds"}
    for a, b in zip(*((folder / "history.jsonl").open() for folder in (job.out, unbroken.out)), strict=True):
        left, right = json.loads(a), json.loads(b)
        assert {k: v for k, v in left.items() if k not in ignored} == {
            k: v for k, v in right.items() if k not in ignored
        }


def test_seed_decides(job: PriorJob) -> None:
    short = load_recipe("default", [*SETTINGS, "epochs=1"])
    folders = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        folders.append(job.out.parent / name)
        train_prior(dataclasses.replace(job, out=folders[-1], recipe=short, seed=seed))
    assert same(folders[0], folders[1])
    assert not same(folders[0], folders[2])


def test_checkpoint_of_other_settings_is_refused(job: PriorJob) -> None:
    job.out.mkdir()
    torch.save({"identity": "another"}, job.out / "checkpoint.pt")
    with pytest.raises(PriorError, match="other settings"):
        train_prior(job)
    (job.out / "checkpoint.pt").write_bytes(b"torn")
    with pytest.raises(PriorError, match="cannot read"):
        train_prior(job)
    short = load_recipe("default", [*SETTINGS, "epochs=1"])
    train_prior(dataclasses.replace(job, overwrite=True, recipe=short))


def test_existing_prior_is_kept(job: PriorJob) -> None:
    job.out.mkdir()
    (job.out / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="holds a prior already"):
        train_prior(job)


def test_patience_stops_and_the_best_weights_are_kept(job: PriorJob, monkeypatch) -> None:
    losses = iter([5.0, 3.0, 4.0, 4.0, 4.0, 4.0])
    real = prior_trainer.validate
    monkeypatch.setattr(prior_trainer, "validate", lambda *a: real(*a) | {"valid_loss": next(losses)})
    recipe = load_recipe("default", [*SETTINGS, "epochs=6", "patience=2"])
    config = train_prior(dataclasses.replace(job, recipe=recipe))
    assert config["training"]["epochs_run"] == 4
    assert config["training"]["best"]["epoch"] == 1


def test_a_loss_that_is_not_finite_is_an_error(job: PriorJob, monkeypatch) -> None:
    monkeypatch.setattr(prior_trainer, "loss", lambda terms, *_: terms.kl.sum() * float("nan"))
    with pytest.raises(PriorError, match="not finite at step 0"):
        train_prior(job)


def test_other_validation_folder_and_devices(job: PriorJob, speech: Path) -> None:
    recipe = load_recipe("default", [*SETTINGS, "epochs=1"])
    config = train_prior(dataclasses.replace(job, recipe=recipe, valid=speech / "speaker0"))
    assert config["training"]["data"]["held_out"] is False
    assert config["training"]["data"]["train"]["files"] == 30
    with pytest.raises(UsageError, match="device"):
        prior.choose_device("abacus")


def test_unwritable_output(job: PriorJob, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        train_prior(dataclasses.replace(job, out=tmp_path / "file" / "prior"))


def test_output_layer_has_a_learning_rate_of_its_own(job: PriorJob, monkeypatch) -> None:
    rates: list[set[float]] = []
    original = loop.Trainer._step

    def watch(self: loop.Trainer, *rest: object) -> None:
        original(self, *rest)  # type: ignore[arg-type]
        rates.append({group["lr"] / group["scale"] for group in rest[-1].param_groups})  # type: ignore[attr-defined]
        assert {group["scale"] for group in rest[-1].param_groups} == {1.0, 10.0}  # type: ignore[attr-defined]

    monkeypatch.setattr(loop.Trainer, "_step", watch)
    recipe = load_recipe("default", [*SETTINGS, "epochs=1", "output_rate=10", "weight_decay=0.1"])
    train_prior(dataclasses.replace(job, recipe=recipe))
    assert rates
    assert all(max(step) == pytest.approx(min(step)) for step in rates)


def test_fitted_start_is_well_scaled(job: PriorJob) -> None:
    """Pre-activations within tanh's linear part; a first loss of the order of a constant model's."""
    recipe = load_recipe("lab", [*SETTINGS[:3], "hidden=[8, 16, 32]"])
    frames = prior._load_frames(dataclasses.replace(job, recipe=recipe), print).train
    model = loop.initialise(lambda: prior._untrained(recipe, frames), 0)
    power = torch.from_numpy(frames.gather(slice(0, 2000)))
    with torch.no_grad():
        features = (torch.log(power + 1e-8) - model.log_power_mean) / model.log_power_std
        assert 0.3 < float(model.encoder[0](features).std()) < 0.8
        posterior = model.encode(power[None])
        ratio = power / torch.exp(model.decode(posterior.mean.unsqueeze(1))[0, 0])
        assert float(posterior.log_variance.max()) < -2
        assert 0.2 < float(ratio.mean()) < 5
