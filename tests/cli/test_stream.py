"""vae-se stream, and bare samples through vae-se enhance."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from tests.conftest import noisy_like

QUICK = (
    "--set",
    "inference.iterations=2",
    "--set",
    "inference.averaging=1",
    "--block",
    "0.128",
    "--context",
    "0.4",
)


class Pipe:
    """A stdin or stdout of bytes."""

    def __init__(self, data: bytes = b"") -> None:
        self.buffer = io.BufferedReader(io.BytesIO(data)) if data else io.BytesIO()

    def isatty(self) -> bool:
        return False

    def flush(self) -> None:
        pass

    def write(self, text: str) -> None:
        raise AssertionError(f"text on stdout: {text}")


@pytest.fixture
def stream(cli, tiny_prior, monkeypatch):
    """``stream(*arguments, stdin=bytes)``: what the command did, and what it wrote to stdout."""

    def run(*arguments, stdin=b"", command="stream"):
        out = Pipe()
        monkeypatch.setattr(sys, "stdin", Pipe(stdin))
        monkeypatch.setattr(sys, "stdout", out)
        ran = cli(command, "--prior", tiny_prior, *arguments)
        return ran, out.buffer.getvalue()

    return run


def wav_bytes(samples, rate=16000, subtype="PCM_16"):
    target = io.BytesIO()
    soundfile.write(target, samples.T, rate, format="WAV", subtype=subtype)
    return target.getvalue()


@pytest.mark.parametrize(
    ("subtype", "rate", "channels"), [("PCM_16", 16000, 1), ("PCM_24", 8000, 2), ("FLOAT", 16000, 1)]
)
def test_a_wav_comes_out_as_it_went_in(stream, subtype, rate, channels):
    sound = np.stack([noisy_like(0.6, rate, seed=c) for c in range(channels)])
    ran, out = stream(*QUICK, stdin=wav_bytes(sound, rate, subtype))
    assert ran.code == 0, ran.err
    assert "ms behind" in ran.err
    with soundfile.SoundFile(io.BytesIO(out)) as file:
        assert (file.samplerate, file.channels, file.subtype) == (rate, channels, subtype)
        clean = file.read(always_2d=True).T
    assert clean.shape == sound.shape
    assert 0 < np.abs(clean).sum() < np.abs(sound).sum()


@pytest.mark.parametrize(("raw", "width"), [("s16le", 2), ("s24le", 3), ("s32le", 4), ("f32le", 4)])
def test_bare_samples(stream, raw, width):
    sound = noisy_like(0.3).astype(np.float32)
    data = sound.tobytes()
    if raw != "f32le":
        integers = np.rint(sound.astype(float) * 2.0 ** (8 * width - 1)).astype("<i4")
        data = integers.reshape(-1, 1).view(np.uint8)[:, :width].tobytes()
    ran, out = stream("-q", "--raw", raw, "--rate", 16000, *QUICK, stdin=data)
    assert (ran.code, ran.err) == (0, "")
    assert len(out) == len(data)
    # What came as it is, as a file, is the same sound.
    ran, again = stream("-q", *QUICK, stdin=wav_bytes(sound, subtype="FLOAT"))
    clean = np.frombuffer(again[44:], "<f4")
    if raw == "f32le":
        np.testing.assert_array_equal(np.frombuffer(out, "<f4"), clean)


def test_files_in_and_out(stream, wav, tmp_path):
    path = wav("x.flac", noisy_like(0.4, 8000), 8000, subtype="PCM_24")
    out = tmp_path / "out.wav"
    ran, data = stream(path, "-o", out, *QUICK)
    assert (ran.code, data) == (0, b""), ran.err
    assert soundfile.info(out).frames == 3200
    assert soundfile.info(out).subtype == "PCM_24"
    ran, _ = stream(path, "-o", out, *QUICK)
    assert ran.code == 1
    assert "exists already" in ran.err
    ran, _ = stream(path, "-o", out, "--overwrite", *QUICK)
    assert ran.code == 0, ran.err


def test_what_follows_the_samples_of_a_wav_is_not_heard(stream):
    data = wav_bytes(noisy_like(0.2)) + b"LIST\x04\0\0\0abcd"
    ran, out = stream(*QUICK, stdin=data)
    assert ran.code == 0, ran.err
    assert len(out) == 44 + 2 * 3200


@pytest.mark.parametrize(
    ("arguments", "stdin", "words"),
    [
        ((), b"no sound at all", "does not start like a WAV"),
        ((), b"RIFF\0\0\0\0WAVE", "ends within its header"),
        ((), wav_bytes(np.zeros(9), subtype="ULAW"), "8 bits in format 7"),
        (("--raw", "s16le"), b"", "--rate belong together"),
        (("--raw", "s16le", "--rate", 3), b"\0\0", "rate of 3 Hz"),
        (("--raw", "f32le", "--rate", 16000), np.full(9, np.nan, "<f4").tobytes(), "NaN"),
        (("--block", "0.001", "--raw", "s16le", "--rate", 16000), b"\0\0", "a block of"),
    ],
)
def test_what_cannot_be_streamed(stream, arguments, stdin, words):
    ran, _ = stream(*arguments, stdin=stdin)
    assert ran.code in (1, 2)
    assert words in ran.err
    assert len([line for line in ran.err.splitlines() if "behind" not in line]) == 2, ran.err


def test_enhance_takes_bare_samples(stream, tmp_path):
    data = (noisy_like(0.3) * 32767).astype("<i2").tobytes()
    options = ("--raw", "s16le", "--rate", 16000, "--set", "inference.iterations=2", "--jobs", 1)
    ran, out = stream("-", *options, stdin=data, command="enhance")
    assert ran.code == 0, ran.err
    assert len(out) == len(data)
    path = tmp_path / "x.raw"
    path.write_bytes(data)
    ran, _ = stream(path, *options, command="enhance")
    assert ran.code == 0, ran.err
    clean, rate = soundfile.read(tmp_path / "x_enhanced.wav", dtype="int16")
    assert rate == 16000
    assert clean.tobytes() == out


def test_long_files_go_through_the_command_in_parts(stream, wav, tmp_path, monkeypatch):
    from vae_se.enhancement import long_file

    path = wav("x.wav", noisy_like(0.5))
    options = ("--set", "inference.iterations=2", "--jobs", 1, "--save-noise")
    stream(path, "-o", tmp_path / "whole.wav", *options, command="enhance")
    monkeypatch.setattr(long_file, "LONG", 100)
    ran, _ = stream(path, "-o", tmp_path / "parts.wav", *options, command="enhance")
    assert ran.code == 0, ran.err
    for name in ("{}.wav", "{}_noise.wav"):
        whole, parts = (tmp_path / name.format(which) for which in ("whole", "parts"))
        assert whole.read_bytes() == parts.read_bytes()


def test_speech_comes_while_the_stream_goes_on(tiny_prior):
    """The first half leaves before the second has come."""
    data = (noisy_like(2.0) * 32767).astype("<i2").tobytes()
    command = [
        sys.executable,
        "-m",
        "vae_se",
        "stream",
        "--raw",
        "s16le",
        "--rate",
        "16000",
        "--prior",
        tiny_prior,
    ]
    run = subprocess.Popen(
        [*map(str, command), *QUICK, "-q"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    try:
        run.stdin.write(data[: len(data) // 2])
        first = run.stdout.read(8000)  # what comes first, with the second half to come
        assert first
        rest, _ = run.communicate(data[len(data) // 2 :], timeout=120)
    finally:
        run.kill()
    assert run.returncode == 0
    assert len(first) + len(rest) == len(data)


def test_band_8k_leaves_the_high_band_out(stream):
    hiss = 0.05 * np.random.default_rng(0).standard_normal((1, 24000))

    def above(*arguments):
        _, data = stream("-q", *QUICK, "--atten-lim", "6", *arguments, stdin=wav_bytes(hiss, 48000))
        samples, _ = soundfile.read(io.BytesIO(data))
        return np.mean(np.abs(np.fft.rfft(samples[2400:21600])[4000:]) ** 2)

    assert above("--band", "8k") < 0.1 * above()
