"""vae-se enhance: what a person types, and what they get."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vae_se.cli.common import deferred_interrupt

FIELDS = {
    "input": str,
    "output": (str, type(None)),
    "status": str,
    "duration": float,
    "seconds": float,
    "rtf": float,
    "method": str,
    "prior": (str, type(None)),
    "iterations": int,
    "objective": float,
    "acceptance": (float, type(None)),
    "ess": (float, type(None)),
    "rhat": (float, type(None)),
    "snr_db": float,
    "segment_snr_db": list,
    "trusted": bool,
    "noise_output": (str, type(None)),
    "draw_outputs": list,
    "picture": (str, type(None)),
    "vad": (str, type(None)),
    "warnings": list,
    "error": (str, type(None)),
    "hint": (str, type(None)),
}


@pytest.fixture
def quick(tiny_prior):
    """Options that make a file cheap: a small prior, few iterations."""
    return ["--prior", str(tiny_prior), "--set", "inference.iterations=3", "--device", "cpu"]


@pytest.fixture
def enhance(cli, quick):
    """``enhance(path, ...)``: the command with those options."""
    return lambda *arguments: cli("enhance", *quick, *arguments)


def test_one_file(enhance, wav, make_noisy, tmp_path):
    path = wav("talk.wav", make_noisy(1.0))
    ran = enhance(path)
    assert ran.code == 0, ran.err
    assert ran.out == ""
    assert "talk_enhanced.wav" in ran.err
    assert "real-time factor" in ran.err
    noisy, _ = soundfile.read(path)
    clean, _ = soundfile.read(tmp_path / "talk_enhanced.wav")
    assert clean.shape == noisy.shape
    assert np.isfinite(clean).all()
    assert 0 < np.abs(clean).sum() < np.abs(noisy).sum()
    assert sorted(os.listdir(tmp_path)) == ["talk.wav", "talk_enhanced.wav"]


@pytest.mark.parametrize(
    ("name", "rate", "channels", "subtype"),
    [
        ("phone.wav", 8000, 1, "PCM_U8"),
        ("studio.wav", 48000, 1, "PCM_24"),
        ("stereo.flac", 44100, 2, "PCM_16"),
        ("float.wav", 22050, 1, "FLOAT"),
        ("song.ogg", 16000, 1, "VORBIS"),
        ("song.mp3", 44100, 1, "MPEG_LAYER_III"),
        ("odd.aiff", 11025, 3, "PCM_24"),
    ],
)
def test_rate_length_channels_and_format_stay(enhance, tmp_path, make_noisy, name, rate, channels, subtype):
    path = tmp_path / name
    sound = np.stack([make_noisy(0.51, rate, seed=c) for c in range(channels)])
    soundfile.write(path, sound.T, rate, subtype=subtype)
    before = soundfile.info(path)
    ran = enhance(path)
    assert ran.code == 0, ran.err
    after = soundfile.info(tmp_path / f"{path.stem}_enhanced{path.suffix}")
    for field in ("samplerate", "channels", "frames", "format", "subtype"):
        assert getattr(after, field) == getattr(before, field), field
    assert np.isfinite(soundfile.read(tmp_path / f"{path.stem}_enhanced{path.suffix}")[0]).all()


def test_one_sample_and_silence(enhance, wav, tmp_path):
    for name, samples in (("one.wav", np.array([0.25])), ("zeros.wav", np.zeros(16000))):
        ran = enhance(wav(name, samples))
        assert ran.code == 0, ran.err
        out, _ = soundfile.read(tmp_path / name.replace(".", "_enhanced."))
        assert out.shape == samples.shape
        assert np.isfinite(out).all()
    assert not out.any()


def test_a_second_of_digital_silence_inside(enhance, wav, make_noisy, tmp_path):
    sound = make_noisy(3.0)
    sound[16000:32000] = 0
    ran = enhance(wav("x.wav", sound))
    assert ran.code == 0, ran.err
    out, _ = soundfile.read(tmp_path / "x_enhanced.wav")
    assert np.isfinite(out).all()
    for second in (slice(0, 16000), slice(32000, 48000)):
        ratio = np.sum(out[second] ** 2) / np.sum(sound[second] ** 2)
        assert 1e-3 < ratio < 1.01
    assert np.abs(out[18000:30000]).max() < 1e-3


def bad_inputs(tmp_path: Path, wav) -> dict[str, str]:
    """File name: what the error says."""
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("no sound\n" * 100)
    wav("none.wav", np.zeros((1, 0)))
    nan = np.zeros(1000)
    nan[3] = np.nan
    wav("nan.wav", nan, subtype="FLOAT")
    wav("inf.wav", np.where(np.arange(1000) == 7, np.inf, 0.1), subtype="DOUBLE")
    return {
        "missing.wav": "does not exist",
        "empty.wav": "is empty",
        "text.wav": "not audio",
        "none.wav": "no samples",
        "nan.wav": "1 samples are NaN or infinite",
        "inf.wav": "1 samples are NaN or infinite",
    }


def test_bad_inputs_one_by_one(enhance, wav, tmp_path):
    for name, message in bad_inputs(tmp_path, wav).items():
        ran = enhance(tmp_path / name)
        what, what_to_do = ran.err.splitlines()
        assert ran.code == 1
        assert what.startswith("error: ")
        assert message in what
        assert name in what
        assert what_to_do.startswith("hint: ")
        assert not (tmp_path / name.replace(".", "_enhanced.")).exists()


def test_bad_inputs_do_not_stop_the_good(enhance, wav, make_noisy, tmp_path):
    bad = bad_inputs(tmp_path, wav)
    wav("z_good.wav", make_noisy(0.3))
    out = tmp_path / "out"
    ran = enhance(*(tmp_path / name for name in bad), tmp_path / "z_good.wav", "-o", out)
    assert ran.code == 1
    assert os.listdir(out) == ["z_good_enhanced.wav"]
    assert "1 done, 6 failed" in ran.err
    last = ran.err.splitlines()[-12:]
    assert [line.split(":")[0] for line in last] == ["error", "hint"] * 6
    for line, message in zip(last[::2], bad.values(), strict=True):
        assert message in line


def test_outputs_that_cannot_be_written(enhance, wav, make_noisy, tmp_path):
    path = wav("x.wav", make_noisy(0.3))
    (tmp_path / "file").write_text("")
    ran = enhance(path, "-o", tmp_path / "file" / "y.wav")
    assert ran.code == 1
    assert "error: cannot write" in ran.err
    ran = enhance(path, "-o", tmp_path / "y.doc")
    assert ran.code == 2
    assert ".wav" in ran.err
    ran = enhance(path, "-o", path, "--overwrite")
    assert ran.code == 2
    assert "is an input and would be the output" in ran.err


def test_an_existing_output_is_kept(enhance, wav, make_noisy, tmp_path):
    path = wav("x.wav", make_noisy(0.3))
    kept = tmp_path / "x_enhanced.wav"
    kept.write_text("precious")
    ran = enhance(path)
    assert ran.code == 0
    assert "kept" in ran.err
    assert kept.read_text() == "precious"
    assert enhance(path, "--overwrite").code == 0
    assert soundfile.info(kept).frames == 4800


def test_a_folder_keeps_its_tree(enhance, wav, make_noisy, tmp_path):
    wav("in/a.wav", make_noisy(0.2))
    wav("in/sub/a.flac", make_noisy(0.2))
    ran = enhance(tmp_path / "in")
    assert ran.code == 2
    assert "-o DIR" in ran.err
    ran = enhance(tmp_path / "in", "-o", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert (tmp_path / "out/a_enhanced.wav").is_file()
    assert (tmp_path / "out/sub/a_enhanced.flac").is_file()
    ran = enhance(tmp_path / "in", "-o", tmp_path / "out")
    assert "2 skipped" in ran.err


def test_json(enhance, wav, make_noisy, tmp_path):
    good, bad = wav("x.wav", make_noisy(0.5)), tmp_path / "missing.wav"
    ran = enhance(good, bad, "-o", tmp_path / "out", "--json", "-q", "--save-noise")
    assert ran.code == 1
    done, failed = (json.loads(line, parse_constant=pytest.fail) for line in ran.out.splitlines())
    assert set(done) == set(failed) == set(FIELDS)
    for field, kind in FIELDS.items():
        assert isinstance(done[field], kind), field
    assert (done["status"], failed["status"]) == ("done", "failed")
    assert done["duration"] == 0.5
    assert done["iterations"] == 3
    assert Path(done["noise_output"]).is_file()
    assert "does not exist" in failed["error"]
    (again, _) = (
        json.loads(line) for line in enhance(good, bad, "-o", tmp_path / "out", "--json").out.splitlines()
    )
    assert again["status"] == "skipped"


def test_the_noise_is_what_was_taken_out(enhance, wav, make_noisy, tmp_path):
    path = wav("x.wav", make_noisy(1.0), subtype="FLOAT")
    assert enhance(path, "--save-noise").code == 0
    noisy, speech, noise = (
        soundfile.read(tmp_path / f"x{part}.wav")[0] for part in ("", "_enhanced", "_enhanced_noise")
    )
    assert np.corrcoef(noisy, speech + noise)[0, 1] > 0.99


def test_draws_are_written_beside_the_output_and_depend_on_the_seed(enhance, wav, make_noisy, tmp_path):
    path = wav("x.wav", make_noisy(0.5), subtype="FLOAT")
    ran = enhance(path, "--draws", 2, "--json", "-q")
    assert ran.code == 0, ran.err
    names = [str(tmp_path / f"x_enhanced_draw{number}.wav") for number in (1, 2)]
    assert json.loads(ran.out)["draw_outputs"] == names
    estimate, *draws = (soundfile.read(name)[0] for name in (tmp_path / "x_enhanced.wav", *names))
    assert {draw.shape for draw in draws} == {estimate.shape}
    assert 0 < np.mean((draws[0] - estimate) ** 2) < np.mean((draws[0] - draws[1]) ** 2)
    assert enhance(path, "--draws", 1, "--overwrite").code == 0
    np.testing.assert_array_equal(soundfile.read(names[0])[0], draws[0])
    assert enhance(path, "--draws", 1, "--overwrite", "--seed", 1).code == 0
    assert not np.array_equal(soundfile.read(names[0])[0], draws[0])


def test_draws_need_a_file_and_a_posterior(enhance, cli, wav, make_noisy):
    path = wav("x.wav", make_noisy(0.3))
    ran = enhance(path, "--draws", 1, "-o", "-")
    assert ran.code == 2
    assert "--draws needs an output file" in ran.err
    ran = cli("enhance", path, "--method", "log-mmse", "--draws", 1)
    assert ran.code == 2
    assert "no posterior" in ran.err


def test_the_same_seed_gives_the_same_file(enhance, wav, make_noisy, tmp_path):
    path = wav("x.wav", make_noisy(0.5))
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert enhance(path, "-o", tmp_path / f"{name}.wav", "--seed", seed).code == 0
    a, b, c = ((tmp_path / f"{name}.wav").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_dry_and_attenuation_limit(enhance, wav, make_noisy, tmp_path):
    path = wav("x.wav", make_noisy(0.5), subtype="FLOAT")
    noisy = soundfile.read(path)[0]
    assert enhance(path, "-o", tmp_path / "dry.wav", "--dry", 1).code == 0
    np.testing.assert_allclose(soundfile.read(tmp_path / "dry.wav")[0], noisy, atol=1e-5)
    assert enhance(path, "-o", tmp_path / "limit.wav", "--atten-lim", 0).code == 0
    np.testing.assert_allclose(soundfile.read(tmp_path / "limit.wav")[0], noisy, atol=1e-4)


def test_usage_errors(enhance, cli, wav, make_noisy, tmp_path):
    path = wav("x.wav", make_noisy(0.2))
    for arguments, words in (
        ((), "no input"),
        ((path, "--set", "inference.iteration=3"), "inference.iterations"),
        ((path, "--set", "noise.rank=many"), "whole number"),
        ((path, "--preset", "defualt"), "default"),
        ((path, "--dry", "2"), "--dry"),
        ((path, "--config", tmp_path / "none.toml"), "does not exist"),
        ((path, "--name", "../{stem}{ext}"), "not a file name"),
        ((path, "--method", "log-mmes"), "log-mmse"),
        ((path, "--noise", "nfm"), "nmf"),
        ((path, "--estep", "encoder-si"), "encoder-is"),
        ((path, "--device", "gpu9"), "device"),
        ((path, "--no-such-option"), "No such option"),
        ((path, "-o", "-", "--json"), "stdout"),
    ):
        ran = enhance(*arguments)
        assert ran.code == 2, (arguments, ran.err)
        assert words in ran.err
        assert len(ran.err.splitlines()) == 2, ran.err
        assert "Traceback" not in ran.err
    assert not (tmp_path / "x_enhanced.wav").exists()


def test_priors_that_cannot_be_used(cli, wav, make_noisy, tmp_path, tiny_prior):
    path = wav("x.wav", make_noisy(0.2))
    ran = cli("enhance", path, "--prior", "no-such-prior")
    assert (ran.code, ran.err.splitlines()[0]) == (2, "error: unknown prior 'no-such-prior'")
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    (wrong / "weights.safetensors").write_bytes((tiny_prior / "weights.safetensors").read_bytes())
    config = json.loads((tiny_prior / "config.json").read_text())
    config["signal"]["window"] = 512
    (wrong / "config.json").write_text(json.dumps(config))
    ran = cli("enhance", path, "--prior", wrong)
    assert ran.code == 1
    assert "does not fit its config" in ran.err
    assert len(ran.err.splitlines()) == 2


def test_debug_shows_the_traceback(cli, tmp_path):
    assert "Traceback" not in cli("enhance", tmp_path / "x.wav", "--prior", "none").err
    path = tmp_path / "x.wav"
    soundfile.write(path, np.zeros(100), 16000)
    assert "Traceback" in cli("enhance", path, "--prior", "none", "--debug").err
    assert "Traceback" in cli("--debug", "enhance", path, "--prior", "none").err


def test_print_config_is_a_configuration(cli, tmp_path):
    ran = cli("enhance", "--preset", "fast", "--atten-lim", "12", "--set", "noise.rank=3", "--print-config")
    assert ran.code == 0
    path = tmp_path / "c.toml"
    path.write_text(ran.out)
    assert cli("enhance", "--config", path, "--print-config").out == ran.out
    assert "rank = 3" in ran.out
    assert "rank = 5" in cli("enhance", "--config", path, "--set", "noise.rank=5", "--print-config").out


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "vae_se", *map(str, arguments)]


def test_a_pipe(wav, make_noisy, quick, tmp_path):
    path = wav("x.wav", make_noisy(0.5, 8000), 8000, subtype="PCM_24")
    ran = subprocess.run(
        command("enhance", "-", *quick), input=path.read_bytes(), capture_output=True, check=True
    )
    with soundfile.SoundFile(io.BytesIO(ran.stdout)) as out:
        assert (out.samplerate, out.frames, out.subtype) == (8000, 4000, "PCM_24")
    assert b"real-time factor" in ran.stderr


def test_nothing_on_stdin(quick):
    ran = subprocess.run(command("enhance", "-", *quick), input=b"", capture_output=True)
    assert ran.returncode == 1
    assert ran.stderr.decode().splitlines()[-2] == "error: <stdin> is empty (0 bytes)"


@pytest.mark.slow
def test_workers_give_the_same_files(enhance, wav, make_noisy, tmp_path):
    for seed in range(3):
        wav(f"in/{seed}.wav", make_noisy(0.4 + 0.1 * seed, seed=seed))
    (tmp_path / "in/bad.wav").write_text("no sound")
    assert enhance(tmp_path / "in", "-o", tmp_path / "one").code == 1
    ran = enhance(tmp_path / "in", "-o", tmp_path / "two", "--jobs", "2")
    assert ran.code == 1
    assert "3 done, 1 failed" in ran.err
    assert "Traceback" not in ran.err
    for seed in range(3):
        name = f"{seed}_enhanced.wav"
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_batches_give_the_same_files_and_fail_one_by_one(enhance, wav, make_noisy, tmp_path):
    names = []
    for seed, rate in enumerate((16000, 16000, 8000, 16000)):
        names.append(f"{seed}_enhanced.wav")
        wav(f"in/{seed}.wav", make_noisy(0.3 + 0.1 * seed, rate, seed=seed), rate, subtype="FLOAT")
    (tmp_path / "in/2b.wav").write_text("no sound")
    assert enhance(tmp_path / "in", "-o", tmp_path / "one").code == 1
    ran = enhance(tmp_path / "in", "-o", tmp_path / "all", "--batch", 8)
    assert ran.code == 1
    assert "4 done, 1 failed" in ran.err
    for name in names:
        one, many = (soundfile.read(tmp_path / folder / name)[0] for folder in ("one", "all"))
        np.testing.assert_allclose(many, one, atol=1e-5)


def start(*arguments, ignored: bool = False) -> subprocess.Popen[str]:
    """The command in a process of its own; ``ignored``: SIGINT is ignored, as under nohup or a job runner."""
    action = signal.SIG_IGN if ignored else signal.SIG_DFL
    return subprocess.Popen(
        command(*arguments),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, action),
    )


@pytest.mark.parametrize(
    ("jobs", "number", "ignored"),
    [
        (1, signal.SIGINT, False),
        pytest.param(2, signal.SIGINT, False, marks=pytest.mark.slow),
        pytest.param(1, signal.SIGTERM, False, marks=pytest.mark.slow),
        pytest.param(2, signal.SIGTERM, False, marks=pytest.mark.slow),
        (1, signal.SIGTERM, True),
    ],
)
def test_interrupted(wav, make_noisy, tiny_prior, tmp_path, jobs, number, ignored):
    """^C or SIGTERM while the second file is under way: the first is there, whole, and nothing else is."""
    wav("in/a.wav", make_noisy(0.1))
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 16000 * 90)
    for name in ("b", "c"):
        wav(f"in/{name}.wav", noise)
    out = tmp_path / "out"
    options = ["--prior", tiny_prior, "--preset", "fast", "--batch", 1]
    run = start("enhance", tmp_path / "in", "-o", out, *options, "--jobs", jobs, ignored=ignored)
    try:
        deadline = time.monotonic() + 120
        while not (out / "a_enhanced.wav").exists() and time.monotonic() < deadline and run.poll() is None:
            time.sleep(0.02)
        if ignored:
            run.send_signal(signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):
                run.wait(0.5)
        run.send_signal(number)
        _, errors = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 130, errors
    assert "Traceback" not in errors
    assert os.listdir(out) == ["a_enhanced.wav"]
    assert soundfile.info(out / "a_enhanced.wav").frames == 1600


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_an_import_waits_for_its_end(number):
    before, reached = signal.signal(number, signal.default_int_handler), []

    def interrupted():
        with deferred_interrupt():
            os.kill(os.getpid(), number)
            reached.append("the end")

    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert reached
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with deferred_interrupt():
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_hint_is_printed_once(cli, tmp_path):
    ran = cli("enhance", tmp_path / "missing.wav")
    assert ran.err.count("check the path") == 1
    ran = cli("enhance", "x.wav", "--set", "noise.rnak=3")
    assert ran.err.count("did you mean") == 1


def test_print_config_prints_what_is_in_effect(cli):
    ran = cli("enhance", "--print-config")
    settings = tomllib.loads(ran.out)
    assert settings["noise"]["rank"] == 8
    assert settings["estep"]["learning_rate"] == 0.2
    assert "sweeps" not in settings["estep"]
    lines = ran.out.splitlines()
    above = lines[: lines.index("rank = 8")][-2:]
    assert " ".join(line.removeprefix("# ") for line in above).endswith(
        "the number of noise spectra. A whole number or none, 1 to 1024."
    )
    assert max(map(len, lines)) <= 100
    other = cli("enhance", "--print-config", "--estep", "vem-mh", "--noise", "student-t")
    assert tomllib.loads(other.out)["noise"]["dof"] == 8.0
    assert cli("enhance", "--print-config", "--estep", "vme").code == 2


def test_what_print_config_prints_changes_nothing(cli, enhance, quick, wav, make_noisy, tmp_path):
    path = wav("x.wav", make_noisy(0.4))
    (tmp_path / "c.toml").write_text(cli("enhance", *quick[:4], "--print-config").out)
    one, two = tmp_path / "one.wav", tmp_path / "two.wav"
    assert enhance(path, "-o", one).code == 0
    assert cli("enhance", path, "-o", two, "--config", tmp_path / "c.toml").code == 0
    assert one.read_bytes() == two.read_bytes()


def test_a_preset_that_is_misspelt_names_the_nearest(cli):
    ran = cli("enhance", "x.wav", "--preset", "defautl")
    assert ran.code == 2
    assert ran.err.splitlines() == [
        "error: --preset defautl: expected fast or default or best",
        "hint: did you mean default or fast?",
    ]


def test_the_preset_best_has_a_prior_with_memory(cli, wav, make_noisy):
    """And the noisy encoder of the default prior, whose latents it has."""
    path = wav("x.wav", make_noisy(0.5))
    ran = cli("enhance", path, "--preset", "best", "--set", "inference.iterations=2", "--json", "-q")
    assert ran.code == 0
    assert json.loads(ran.out)["prior"] == "latent-rnn"


def test_a_prior_that_is_misspelt_is_a_usage_error(cli, wav, make_noisy):
    path = wav("x.wav", make_noisy(0.3))
    ran = cli("enhance", path, "--prior", "defualt")
    assert ran.code == 2
    assert ran.err.splitlines() == ["error: unknown prior 'defualt'", "hint: did you mean default?"]
    assert cli("prior", "show", "defualt").code == 2
    assert cli("enhance", path, "--prior", path.parent).code == 2


def test_a_shard_without_inputs_says_so(cli, wav, make_noisy, tmp_path):
    files = [wav(f"{k}.wav", make_noisy(0.2, seed=k)) for k in range(2)]
    ran = cli("enhance", *files, "-o", tmp_path / "out", "--shard", "2/8")
    assert ran.code == 0
    assert ran.err.splitlines() == ["shard 2/8 has none of the 2 inputs: nothing to do"]


def test_no_memory_is_not_a_bug(cli, wav, make_noisy, monkeypatch):
    from vae_se.enhancement.enhancer import Enhancer

    def full(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")

    monkeypatch.setattr(Enhancer, "enhance", full)
    ran = cli("enhance", wav("x.wav", make_noisy(0.2)), "--preset", "fast")
    assert ran.code == 1
    assert "out of memory" in ran.err
    assert "report" not in ran.err


@pytest.mark.parametrize("name", ["talk.wav", "talk.flac", "talk.mp3", "talk.ogg", "talk.aiff"])
def test_an_output_of_other_settings_is_kept_and_named(enhance, wav, make_noisy, name):
    path = wav(name, make_noisy(0.3))
    assert enhance(path).code == 0
    again = enhance(path)
    assert "talk_enhanced" in again.err
    assert "which exists (--overwrite replaces it)" in again.err
    ran = enhance(path, "--atten-lim", "15", "--json")
    assert ran.code == 0
    assert "which was made with other settings (--overwrite replaces it)" in ran.err
    assert json.loads(ran.out)["warnings"] == ["made with other settings"]
    if name == "talk.wav":
        assert enhance(path, "--atten-lim", "15", "--overwrite").code == 0
        assert "which exists" in enhance(path, "--atten-lim", "15").err


def test_the_comment_follows_the_samples_of_a_wav(enhance, wav, make_noisy, tmp_path):
    assert enhance(wav("talk.wav", make_noisy(0.3))).code == 0
    data = (tmp_path / "talk_enhanced.wav").read_bytes()
    assert data[36:40] == b"data"
    assert b"enhanced by vae-se with settings" in data[-100:]


class _Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("workers", [[], pytest.param(["--jobs", "2"], marks=pytest.mark.slow)])
def test_the_bar_counts_seconds_of_audio_while_a_batch_is_running(
    enhance, wav, make_noisy, tmp_path, monkeypatch, workers
):
    for name, seconds in (("a", 1.0), ("b", 2.0)):
        wav(f"in/{name}.wav", make_noisy(seconds))
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    enhance(
        tmp_path / "in",
        "-o",
        tmp_path / "out",
        "--executor",
        "serial" if not workers else "processes",
        *workers,
    )
    shown = terminal.getvalue()
    assert "1/3 s of audio" in shown  # the first of three iterations, on both files at once
    assert "2/3 s of audio" in shown
    assert "3/3 s of audio" in shown


def test_a_bar_in_a_script_or_notebook(tiny_prior, make_noisy, capfd):
    from vae_se import Enhancer

    enhancer = Enhancer.from_pretrained(tiny_prior, inference__iterations=2, device="cpu")
    enhancer.enhance_batch([make_noisy(0.5), make_noisy(0.5)], 16000, progress=True)
    out, err = capfd.readouterr()
    assert "1/1 s of audio" in err
    assert out == ""


@pytest.mark.parametrize("seconds", [0.3, pytest.param(1.0, marks=pytest.mark.slow)])
def test_an_interrupted_pool_says_one_line_and_ends_at_once(wav, make_noisy, tmp_path, tiny_prior, seconds):
    for name in "abcd":
        wav(f"in/{name}.wav", make_noisy(0.3))
    command = [sys.executable, "-m", "vae_se", "enhance", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    command += ["--jobs", "2", "--batch", "1", "--executor", "processes", "--prior", str(tiny_prior)]
    command += ["--set", "inference.iterations=50000"]  # it does not end by itself
    # A job in the background of a shell ignores ^C, and hands that on.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    running = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True, preexec_fn=heed)
    threads = Path(f"/proc/{running.pid}/task")
    while not any(thread.read_text() for thread in threads.glob("*/children")):  # until the first worker starts
        assert running.poll() is None
        time.sleep(0.01)
    time.sleep(seconds)
    started = time.perf_counter()
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to all processes
    _, err = running.communicate()
    assert running.returncode == 130
    assert err.decode().strip().splitlines() == ["interrupted"]
    assert time.perf_counter() - started < 3.0  # a second on an idle machine
