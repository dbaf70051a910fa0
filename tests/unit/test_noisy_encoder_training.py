"""Training of a noisy encoder from end to end, on seconds of synthetic speech."""

import dataclasses
import json

import numpy as np
import pytest
import soundfile
import torch

from tests.conftest import speech_like
from vae_se.errors import OutputError, PriorError, UsageError
from vae_se.noisy_encoder.store import load_noisy_encoder
from vae_se.priors import load_prior
from vae_se.training import loop
from vae_se.training import noisy_encoder as amortise
from vae_se.training.noisy_encoder import NoisyEncoderJob, NoisyEncoderOptions, train_noisy_encoder

OPTIONS = NoisyEncoderOptions(
    steps=7, batch=2, seconds=0.5, width=12, hidden_size=6, learning_rate=5e-3, warmup_steps=2, every=3
)


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    for speaker in range(5):
        (folder / f"s{speaker}").mkdir()
        soundfile.write(folder / f"s{speaker}" / "a.wav", speech_like(2.0, 16000, speaker), 16000)
    return folder


@pytest.fixture
def job(speech, tiny_prior, tmp_path):
    return NoisyEncoderJob(
        data=speech, prior=str(tiny_prior), out=tmp_path / "net", options=OPTIONS, valid_fraction=0.2,
        cache=speech.parent / "cache",
    )  # fmt: skip


def weights(folder):
    return (folder / "weights.safetensors").read_bytes()


def history(folder):
    records = json.loads((folder / "config.json").read_text())["training"]["history"]
    return [{k: v for k, v in record.items() if k != "seconds"} for record in records]


def test_the_loss_falls_and_the_folder_is_complete(job):
    state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    told = []
    options = dataclasses.replace(OPTIONS, steps=60, every=15)
    config = train_noisy_encoder(
        dataclasses.replace(job, options=options, data_note="Made up.", licence="CC0.", command="vae-se x"),
        told.append,
    )
    assert torch.equal(state[0], torch.get_rng_state())
    assert np.array_equal(state[1], np.random.get_state()[1])  # noqa: NPY002
    assert "simulated" in told[0]
    records = config["training"]["history"]
    assert [r["step"] for r in records] == [15, 30, 45, 60]
    totals = [r["valid_speech"] + r["valid_kl"] + r["valid_noise"] for r in records]
    assert totals[-1] < totals[0]
    assert all(np.isfinite(list(r.values())).all() for r in records)
    assert not (job.out / "checkpoint.pt").exists()
    model = load_noisy_encoder(job.out, load_prior(job.prior))
    assert (model.width, model.hidden_size, model.causal) == (12, 6, False)
    assert model.log_power_mean.abs().max() > 0  # the statistics of the mixtures
    card = (job.out / "README.md").read_text()
    count = sum(p.numel() for p in model.parameters())
    for expected in (
        "Made up.", "CC0.", "vae-se x", f"{count:,} parameters", "Seed 0", "two-way", "no recording of noise",
        config["prior"], "| 15 | ", "| 45 | ", "| 60 | ", f"{records[-1]['valid_gain_db']:.2f} |",
    ):  # fmt: skip
        assert expected in card


class Killed(Exception):
    pass


@pytest.mark.parametrize("steps", [2, 3, 5, 7])
def test_a_killed_training_continues_to_the_same_bytes(job, monkeypatch, steps):
    """Killed after so many steps: before the first checkpoint, at it, between two, at the very end."""
    unbroken = dataclasses.replace(job, out=job.out.parent / "unbroken")
    train_noisy_encoder(unbroken)
    real, done = loop.Trainer._step, 0

    def dying(*arguments):
        nonlocal done
        if done == steps:
            raise Killed
        done += 1
        return real(*arguments)

    def unwritable(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "_step", dying)
        patch.setattr(amortise, "save_noisy_encoder", unwritable)
        with pytest.raises(Killed):
            train_noisy_encoder(job)
    assert (job.out / "checkpoint.pt").exists() == (steps >= 3)
    train_noisy_encoder(job)
    assert weights(job.out) == weights(unbroken.out)
    assert history(job.out) == history(unbroken.out)


def test_the_seed_decides(job):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        short = dataclasses.replace(OPTIONS, steps=2)
        train_noisy_encoder(dataclasses.replace(job, out=job.out.parent / name, seed=seed, options=short))
    a, b, c = (weights(job.out.parent / name) for name in "abc")
    assert a == b != c


def test_the_prior_is_left_as_it_was(job, tiny_prior):
    before = weights(tiny_prior)
    train_noisy_encoder(dataclasses.replace(job, options=dataclasses.replace(OPTIONS, steps=1)))
    assert weights(tiny_prior) == before


def test_what_is_there_is_kept(job):
    short = dataclasses.replace(job, options=dataclasses.replace(OPTIONS, steps=1))
    train_noisy_encoder(short)
    before = weights(job.out)
    with pytest.raises(UsageError, match="in use already") as caught:
        train_noisy_encoder(dataclasses.replace(short, seed=5))
    assert "--overwrite" in caught.value.hint
    assert weights(job.out) == before
    train_noisy_encoder(dataclasses.replace(short, seed=5, overwrite=True))
    assert weights(job.out) != before


def test_a_checkpoint_of_another_job_is_refused(job):
    job.out.mkdir()
    torch.save({"identity": "another"}, job.out / "checkpoint.pt")
    with pytest.raises(PriorError, match="other settings"):
        train_noisy_encoder(job)
    train_noisy_encoder(dataclasses.replace(job, overwrite=True, options=dataclasses.replace(OPTIONS, steps=1)))


def test_out_that_cannot_be_written(job, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        train_noisy_encoder(dataclasses.replace(job, out=tmp_path / "file" / "net"))


def test_too_little_speech(job):
    with pytest.raises(UsageError, match=r"a mixture needs 60\.0 s of training speech"):
        train_noisy_encoder(dataclasses.replace(job, options=dataclasses.replace(OPTIONS, seconds=60.0)))


def test_recorded_noise_and_other_speech_to_validate_on(job, speech, tmp_path):
    noise = tmp_path / "noise"
    noise.mkdir()
    soundfile.write(noise / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(30000), 16000)
    told = []
    causal = dataclasses.replace(OPTIONS, steps=2, causal=True)
    config = train_noisy_encoder(
        dataclasses.replace(job, noise=noise, valid=speech, options=causal), told.append
    )
    assert "from 1 recording" in told[0]
    assert config["training"]["noise"] == "recorded"
    card = (job.out / "README.md").read_text()
    for expected in ("cut from recordings", "causal: the output of", "not described", "not stated"):
        assert expected in card


@pytest.mark.parametrize("there", [False, True])
def test_a_noise_folder_without_noise(job, tmp_path, there):
    if there:
        (tmp_path / "noise").mkdir()
    with pytest.raises(UsageError, match="no recordings of noise"):
        train_noisy_encoder(dataclasses.replace(job, noise=tmp_path / "noise"))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("stepz=5", "steps"),
        ("steps", "key=value"),
        ("steps=many", "steps"),
        ("steps=2.5", "steps"),
        ("steps=0", "above zero"),
        ("clip_norm=-1", "above zero"),
        ("causal=3", "causal"),
    ],
)
def test_options_that_make_no_sense(setting, message):
    with pytest.raises(UsageError) as caught:
        NoisyEncoderOptions.of([setting])
    assert message in f"{caught.value} {caught.value.hint}"


def test_options_from_text():
    options = NoisyEncoderOptions.of(["steps=9", "causal=true", "seconds=2", "noise_weight=0"])
    assert (options.steps, options.causal, options.seconds, options.noise_weight) == (9, True, 2, 0)


# ---- as a person types it


SMALL = [
    part
    for setting in ("steps=2", "batch=2", "seconds=0.5", "width=8", "hidden_size=4", "every=1")
    for part in ("--set", setting)
]


def command(speech, prior, out):
    return ["train", speech, "--amortise", prior, "--out", out, "--cache", speech.parent / "cache",
            "--valid-fraction", 0.2, "--threads", 1]  # fmt: skip


def test_command(cli, speech, tiny_prior, tmp_path):
    out = tmp_path / "net"
    (tmp_path / "note.txt").write_text("Made up.\n")
    arguments = [*command(speech, tiny_prior, out), *SMALL, "--data-note", f"@{tmp_path / 'note.txt'}"]
    ran = cli(*arguments)
    assert ran.code == 0, ran.err
    assert ran.out == ""
    assert "step 2" in ran.err
    assert "Made up." in (out / "README.md").read_text()
    load_noisy_encoder(out, load_prior(tiny_prior))
    again = cli(*arguments)
    assert again.code == 2
    assert "--overwrite" in again.err
    quiet = cli(*arguments, "--overwrite", "-q")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


def test_command_prints_its_options(cli, speech, tiny_prior, tmp_path):
    ran = cli(*command(speech, tiny_prior, tmp_path / "net"), "--set", "steps=77", "--print-config")
    assert ran.code == 0
    assert json.loads(ran.out) == dataclasses.asdict(NoisyEncoderOptions(steps=77))
    assert not (tmp_path / "net").exists()


@pytest.mark.parametrize(
    ("more", "hint"),
    [
        (["--recipe", "lab"], "--recipe with --amortise"),
        (["--score-files", "3"], "--score-files with --amortise"),
        (["--tensorboard"], "--tensorboard with --amortise"),
        (["--set", "stepz=3"], "steps"),
        (["--noise", "/nowhere"], "/nowhere"),
    ],
)
def test_command_s_usage_errors(cli, speech, tiny_prior, tmp_path, more, hint):
    ran = cli(*command(speech, tiny_prior, tmp_path / "net"), *SMALL, *more)
    assert ran.code == 2, ran.err
    assert hint in ran.err
    assert "Traceback" not in ran.err


def test_noise_is_for_amortise(cli, speech, tmp_path):
    ran = cli("train", speech, "--out", tmp_path / "p", "--noise", speech)
    assert ran.code == 2
    assert "--noise without --amortise" in ran.err


def test_an_unknown_prior(cli, speech, tmp_path):
    ran = cli(*command(speech, "defalt", tmp_path / "net"), *SMALL)
    assert ran.code != 0
    assert "default" in ran.err


def test_a_dynamical_prior_has_a_network_too(job, tmp_path):
    from vae_se import Enhancer
    from vae_se.priors import PRIORS, save_prior

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        prior = PRIORS["dkf"](hidden=(16,), latent_dim=2, hidden_size=4)
    save_prior(prior, tmp_path / "dkf", "dkf", training={})
    told = train_noisy_encoder(
        dataclasses.replace(job, prior=str(tmp_path / "dkf"), out=tmp_path / "dkf" / "noisy_encoder")
    )
    assert all(np.isfinite(record["valid_kl"]) for record in told["training"]["history"])
    settings = {"inference.iterations": 2, "estep.name": "vem"}
    sound = speech_like(0.5, 16000, 1)
    enhanced = [
        Enhancer.from_pretrained(str(tmp_path / "dkf"), **settings, **more).enhance(sound, 16000)
        for more in ({}, {"inference.noisy_encoder": "none"})
    ]
    assert not np.array_equal(*enhanced)
