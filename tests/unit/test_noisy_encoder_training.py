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
from vae_se.training import loop, noisy_encoder_trainer
from vae_se.training import noisy_encoder as amortise
from vae_se.training.noisy_encoder import (
    NoisyEncoderJob,
    NoisyEncoderOptions,
    SpeechFolder,
    train_noisy_encoder,
)
from vae_se.training.noisy_encoder_loss import FIGURES
from vae_se.training.noisy_encoder_start import take_weights
from vae_se.training.report import HISTORY, read_history

OPTIONS = NoisyEncoderOptions(
    steps=7, batch=2, seconds=0.5, width=12, channels=2, blocks=2, learning_rate=5e-3, warmup_steps=2, every=3,
    average=0.5,
)  # fmt: skip
RECURRENT = dataclasses.replace(OPTIONS, architecture="recurrent", hidden_size=6, optimiser="adamw")


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    for speaker in range(5):
        (folder / f"s{speaker}").mkdir()
        soundfile.write(folder / f"s{speaker}" / "a.wav", speech_like(2.0, 16000, speaker), 16000)
    return folder


@pytest.fixture(autouse=True)
def few_mixtures(monkeypatch):
    """Less speech for the statistics and the validation than a real training has."""
    monkeypatch.setattr(amortise, "_STATISTICS_BATCHES", 2)
    monkeypatch.setattr(noisy_encoder_trainer, "_VALID_BATCHES", 2)


@pytest.fixture
def job(speech, tiny_prior, tmp_path):
    return NoisyEncoderJob(
        data=speech, prior=str(tiny_prior), out=tmp_path / "net", options=OPTIONS, valid_fraction=0.2,
        cache=speech.parent / "cache",
    )  # fmt: skip


def weights(folder):
    return (folder / "weights.safetensors").read_bytes()


def history(folder):
    return [{k: v for k, v in record.items() if k != "seconds"} for record in read_history(folder / HISTORY)]


@pytest.mark.parametrize("options", [OPTIONS, RECURRENT], ids=["convolutional", "recurrent"])
def test_the_loss_falls_and_the_folder_is_complete(job, options):
    state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    told = []
    options = dataclasses.replace(options, steps=16, every=4)
    config = train_noisy_encoder(
        dataclasses.replace(job, options=options, data_note="Made up.", licence="CC0.", command="vae-se x"),
        told.append,
    )
    assert torch.equal(state[0], torch.get_rng_state())
    assert np.array_equal(state[1], np.random.get_state()[1])  # noqa: NPY002
    assert "simulated" in told[0]
    assert told[-1].startswith("step 16 of 16")
    records = history(job.out)
    assert [r["step"] for r in records] == [4, 8, 12, 16]
    assert records[-1]["valid_loss"] < records[0]["valid_loss"]
    assert all(np.isfinite(list(r.values())).all() for r in records)
    assert records[-1] == {k: v for k, v in config["training"]["last"].items() if k != "seconds"}
    assert {f"valid_{name}" for name in (*FIGURES, "gain_db", "coverage")} < set(records[0])
    assert not (job.out / "checkpoint.pt").exists()
    assert 1000 < (job.out / "curves.svg").stat().st_size < 20_000
    model = load_noisy_encoder(job.out, load_prior(job.prior))
    assert config["architecture"] == options.architecture
    assert (model.width, model.causal) == (12, False)
    assert model.log_power_mean.abs().max() > 0  # the statistics of the mixtures
    card = (job.out / "README.md").read_text()
    count = sum(p.numel() for p in model.parameters())
    for expected in (
        "Made up.", "CC0.", "vae-se x", f"{count:,} parameters", "Seed 0", "two-way", "no recording of noise",
        config["prior"], "| 4 | ", "| 12 | ", "| 16 | ", f"{records[-1]['valid_gain_db']:.2f} |",
        f"| `{job.data}` | 4 | not told | ",
    ):  # fmt: skip
        assert expected in card


@pytest.mark.parametrize("again_every", [1, 3])
def test_a_noise_aware_network_learns_from_both_answers(job, again_every):
    options = dataclasses.replace(OPTIONS, steps=16, every=4, noise_aware=True, again_every=again_every)
    train_noisy_encoder(dataclasses.replace(job, options=options))
    records = history(job.out)
    assert {f"valid_again_{name}" for name in (*FIGURES, "gain_db", "coverage")} < set(records[0])
    assert records[-1]["valid_again_loss"] < records[0]["valid_again_loss"]
    assert all(np.isfinite(record["train_again_loss"]) for record in records)
    model = load_noisy_encoder(job.out, load_prior(job.prior))
    assert model.down_given.weight.abs().max() > 0
    assert "asked again" in (job.out / "README.md").read_text()


def test_the_width_of_the_noise_is_trained_alone(job, tmp_path):
    train_noisy_encoder(job)
    wide = {"start": str(job.out), "noise_width": True, "only_noise_width": True}
    options = dataclasses.replace(OPTIONS, steps=4, every=4, learning_rate=0.01, **wide)
    train_noisy_encoder(dataclasses.replace(job, out=tmp_path / "wide", options=options))
    prior = load_prior(job.prior)
    before, after = (load_noisy_encoder(folder, prior) for folder in (job.out, tmp_path / "wide"))
    for name, value in before.state_dict().items():
        assert torch.equal(value, after.state_dict()[name]), name
    records = history(tmp_path / "wide")
    assert "valid_noise_coverage" in records[-1]
    assert "a width of the noise's variance" in (tmp_path / "wide" / "README.md").read_text()
    with pytest.raises(UsageError, match="only_noise_width"):
        dataclasses.replace(options, start="")


def test_processes_that_draw_ahead_change_nothing(job, tmp_path):
    train_noisy_encoder(job)
    state = torch.get_rng_state()
    train_noisy_encoder(dataclasses.replace(job, out=tmp_path / "ahead", workers=2))
    assert torch.equal(state, torch.get_rng_state())
    assert history(job.out) == history(tmp_path / "ahead")
    assert weights(job.out) == weights(tmp_path / "ahead")


def test_the_average_is_what_is_kept(job):
    """A moving average over few steps lies between the first and the last weights."""
    found = []
    for average in (0.0, 0.9):
        options = dataclasses.replace(OPTIONS, steps=4, every=4, average=average)
        out = job.out.parent / str(average)
        train_noisy_encoder(dataclasses.replace(job, out=out, options=options))
        found.append(load_noisy_encoder(out, load_prior(job.prior)).state_dict())
    last, mean = found
    assert torch.equal(last["log_power_mean"], mean["log_power_mean"])
    assert not torch.equal(last["enter.weight"], mean["enter.weight"])


class Killed(Exception):
    pass


def kill_after(monkeypatch, job, steps, results=True):
    """Train ``steps`` steps and no more; without ``results``, the results cannot be written."""
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
        if not results:
            patch.setattr(amortise, "save_noisy_encoder", unwritable)
        with pytest.raises(Killed):
            train_noisy_encoder(job)


def test_a_killed_training_continues_to_the_same_bytes(job, monkeypatch):
    """Killed before the first checkpoint, at it before and after its results, between two, at the very end."""
    unbroken = dataclasses.replace(job, out=job.out.parent / "unbroken")
    train_noisy_encoder(unbroken)
    for steps, results in ((2, True), (3, False), (1, True), (2, True), (9, False), (9, False)):
        kill_after(monkeypatch, job, steps, results)
    assert (job.out / "checkpoint.pt").exists()
    train_noisy_encoder(job)
    assert weights(job.out) == weights(unbroken.out)
    assert history(job.out) == history(unbroken.out)


def test_results_are_there_before_the_end_and_the_end_may_move(job, monkeypatch):
    kill_after(monkeypatch, job, 5)
    load_noisy_encoder(job.out, load_prior(job.prior))  # those of step 3
    assert "| 3 | " in (job.out / "README.md").read_text()
    longer = dataclasses.replace(OPTIONS, steps=9, decay=0.3)
    config = train_noisy_encoder(dataclasses.replace(job, options=longer))
    assert config["training"]["last"]["step"] == 9
    assert [record["step"] for record in history(job.out)] == [3, 6, 9]


def test_other_options_do_not_continue_a_training(job, monkeypatch):
    kill_after(monkeypatch, job, 4)
    with pytest.raises(PriorError, match="other settings"):
        train_noisy_encoder(dataclasses.replace(job, options=dataclasses.replace(OPTIONS, sdr_weight=1.0)))


def test_the_seed_decides(job):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        short = dataclasses.replace(OPTIONS, steps=2)
        train_noisy_encoder(dataclasses.replace(job, out=job.out.parent / name, seed=seed, options=short))
    a, b, c = (weights(job.out.parent / name) for name in "abc")
    assert a == b != c


def test_it_starts_from_a_trained_network_with_more_blocks(job, tiny_prior, tmp_path):
    """The further blocks are the identity at first; the history and the card go on from the first training."""
    train_noisy_encoder(dataclasses.replace(job, command="vae-se first"))
    wider = dataclasses.replace(OPTIONS, start=str(job.out), blocks=5, steps=6)
    prior = load_prior(tiny_prior, "cpu")
    network = wider.network(prior.signal.stft.bins, prior.latent_dim)
    take_weights(network, job.out)
    power, mask = torch.rand(2, 20, prior.signal.stft.bins), torch.ones(2, 20)
    before = load_noisy_encoder(job.out, prior)(power, mask)
    after = network(power, mask)
    assert torch.equal(before.posterior.mean, after.posterior.mean)
    assert torch.equal(before.log_noise, after.log_noise)

    second = dataclasses.replace(job, out=tmp_path / "second", options=wider, seed=1)
    config = train_noisy_encoder(second)
    assert config["model"]["blocks"] == 5
    assert [record["step"] for record in history(second.out)] == [3, 6, 7, 10, 13]
    seconds = [record["seconds"] for record in read_history(second.out / HISTORY)]
    assert seconds == sorted(seconds)
    card = (second.out / "README.md").read_text()
    assert "13 steps" in card
    assert "after 7 steps of another training" in card
    assert "vae-se first" in card


@pytest.mark.parametrize(
    ("change", "message"), [({"blocks": 1}, "has 2 blocks"), ({"width": 16}, "width = 12")]
)
def test_it_does_not_start_from_another_network(job, tmp_path, change, message):
    train_noisy_encoder(job)
    options = dataclasses.replace(OPTIONS, start=str(job.out), **change)
    with pytest.raises(UsageError, match=message):
        train_noisy_encoder(dataclasses.replace(job, out=tmp_path / "second", options=options))


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
        ("steps=0", "the range is 1"),
        ("clip_norm=-1", "above 0"),
        ("average=1", "0 to below 1"),
        ("causal=3", "causal"),
        ("architecture=recurent", "recurrent"),
        ("optimiser=adam", "adamw"),
        ("hidden_size=3", "add architecture=recurrent"),
    ],
)
def test_options_that_make_no_sense(setting, message):
    with pytest.raises(UsageError) as caught:
        NoisyEncoderOptions.of([setting])
    assert message in f"{caught.value} {caught.value.hint}"


def test_options_of_a_network():
    options = NoisyEncoderOptions.of(["architecture=recurrent", "hidden_size=5", "width=7"])
    assert options.network(33, 4).config() == {
        "bins": 33, "latent_dim": 4, "width": 7, "hidden_size": 5, "causal": False,
    }  # fmt: skip
    assert options.given() == ["architecture=recurrent", "width=7", "hidden_size=5"]
    assert NoisyEncoderOptions.of(options.given()) == options
    assert dict(NoisyEncoderOptions.meanings())["average"].endswith("A number, 0 to below 1.")


def test_options_from_text():
    options = NoisyEncoderOptions.of(["steps=9", "causal=true", "seconds=2", "noise_weight=0"])
    assert (options.steps, options.causal, options.seconds, options.noise_weight) == (9, True, 2, 0)


# ---- as a person types it


SMALL = [
    part
    for setting in ("steps=2", "batch=2", "seconds=0.5", "width=8", "channels=2", "blocks=1", "every=1")
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
    assert "steps: Number of steps" in ran.err
    assert not (tmp_path / "net").exists()


@pytest.mark.parametrize(
    ("more", "hint"),
    [
        (["--recipe", "lab"], "--recipe with --amortise"),
        (["--score-files", "3"], "--score-files with --amortise"),
        (["--tensorboard"], "--tensorboard with --amortise"),
        (["--set", "stepz=3"], "steps"),
        (["--noise", "/nowhere"], "/nowhere"),
        (["--noise-pool", "/nowhere"], "/nowhere"),
        (["--noise", "/nowhere", "--noise-pool", "/nowhere"], "give one of them"),
        (["--valid-pool", "/nowhere"], "--valid-pool without --noise-pool"),
    ],
)
def test_command_s_usage_errors(cli, speech, tiny_prior, tmp_path, more, hint):
    ran = cli(*command(speech, tiny_prior, tmp_path / "net"), *SMALL, *more)
    assert ran.code == 2, ran.err
    assert hint in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--noise", "x"], "--noise without --amortise"),
        (["--noise-pool", "x"], "--noise-pool without --amortise"),
        (["--workers", "1"], "--workers without --amortise"),
        (["another"], "2 folders for a prior"),
    ],
)
def test_what_a_prior_does_not_take(cli, speech, tmp_path, more, message):
    ran = cli("train", speech, "--out", tmp_path / "p", *more)
    assert ran.code == 2
    assert message in ran.err


# ---- several folders of speech, and a pool of noise


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """A pool of four noises, by hand: drawing one is tested elsewhere."""
    folder, random = tmp_path_factory.mktemp("pool"), np.random.default_rng(0)
    random.integers(-3000, 3000, (4, 12000)).astype(np.int16).tofile(folder / "samples.int16")
    index = {"seed": 7, "items": 4, "length": 12000, "rate": 16000, "names": ["rain", "rain", "hum", "wind"],
             "scales": [1 / 1700] * 4}  # fmt: skip
    (folder / "index.json").write_text(json.dumps(index))
    return folder


def test_command_with_folders_and_a_pool(cli, speech, pool, tiny_prior, tmp_path):
    out = tmp_path / "net"
    arguments = ["train", f"{speech}=3", f"{speech / 's0'}=1", "--amortise", tiny_prior, "--out", out,
                 "--valid", speech, "--noise-pool", pool, "--cache", speech.parent / "cache",
                 "--threads", 1]  # fmt: skip
    ran = cli(*arguments, *SMALL)
    assert ran.code == 0, ran.err
    assert "from a pool of 3 simulated noises" in ran.err
    training = json.loads((out / "config.json").read_text())["training"]
    assert [(entry["folder"], entry["weight"]) for entry in training["speech"]] == [
        (str(speech), 3.0), (str(speech / "s0"), 1.0),
    ]  # fmt: skip
    assert training["noise"] == "pool"
    assert training["pool"] == {"seed": 7, "items": 3, "seconds": 0.75, "classes": {"hum": 1, "rain": 2}}
    assert training["valid_pool"]["classes"] == {"wind": 1}
    assert training["mixtures"]["snr_db"] == [-8.0, 22.0]
    card = (out / "README.md").read_text()
    for expected in ("| 75% |", "| 25% |", "3 noises of 0.75 s, seed 7", "hum 1, rain 2", "vae-se noise pool"):
        assert expected in card
    ran = cli(*arguments, "--valid-pool", pool, "--overwrite", *SMALL)
    assert ran.code == 0, ran.err
    assert "from a pool of 4 simulated noises" in ran.err


def test_a_pool_at_another_rate(job, pool, tmp_path):
    index = json.loads((pool / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps(index | {"rate": 8000}))
    (tmp_path / "samples.int16").write_bytes((pool / "samples.int16").read_bytes())
    with pytest.raises(UsageError, match="8000 Hz for a prior at 16000 Hz"):
        train_noisy_encoder(dataclasses.replace(job, noise_pool=tmp_path))


@pytest.mark.parametrize("text", ["speech=0", "speech=-1", "speech=much", "speech=inf", "speech="])
def test_weights_that_make_no_sense(text):
    with pytest.raises(UsageError, match="no weight"):
        SpeechFolder.of(text)


def test_a_folder_s_name_may_contain_an_equals_sign(tmp_path):
    (tmp_path / "a=b").mkdir()
    assert SpeechFolder.of(str(tmp_path / "a=b")) == SpeechFolder(tmp_path / "a=b")
    assert SpeechFolder.of(f"{tmp_path / 'a=b'}=2") == SpeechFolder(tmp_path / "a=b", 2.0)


def test_no_folder_at_all(job):
    with pytest.raises(UsageError, match="no folder of clean speech"):
        train_noisy_encoder(dataclasses.replace(job, data=[]))


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
    assert np.isfinite(told["training"]["last"]["valid_kl"])
    settings = {"inference.iterations": 2, "estep.name": "vem"}
    sound = speech_like(0.5, 16000, 1)
    enhanced = [
        Enhancer.from_pretrained(str(tmp_path / "dkf"), **settings, **more).enhance(sound, 16000)
        for more in ({}, {"inference.noisy_encoder": "none"})
    ]
    assert not np.array_equal(*enhanced)
