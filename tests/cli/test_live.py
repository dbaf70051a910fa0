"""vae-se stream with a microphone and a loudspeaker that the test plays."""

from __future__ import annotations

import contextlib
import signal

import numpy as np
import pytest
import soundfile

from tests.conftest import noisy_like
from vae_se.cli import stream as command
from vae_se.cli.live import LevelMeter, Performance, level_db, pieces

QUICK = (
    "--block",
    0.128,
    "--context",
    0.2,
    "--set",
    "inference.iterations=1",
    "--set",
    "inference.averaging=1",
)


class FakeCard:
    """A sound card whose microphone plays ``sound`` and then asks the program to stop."""

    def __init__(self, sound, lost=(), starved=()):
        self.sound, self.lost, self.starved = sound, lost, starved
        self.read_blocks, self.at = 0, 0
        self.opened, self.played = [], []

    @contextlib.contextmanager
    def microphone(self, device, rate, channels, block):
        self.opened.append(("microphone", device, rate, channels, block))
        yield self

    @contextlib.contextmanager
    def speaker(self, device, rate, channels, block):
        self.opened.append(("speaker", device, rate, channels, block))
        yield self

    def read(self, frames):
        part = self.sound[self.at : self.at + frames]
        self.at += frames
        if self.at + frames > self.sound.size:
            signal.raise_signal(signal.SIGTERM)
        self.read_blocks += 1
        return part[:, None].astype(np.float32), self.read_blocks in self.lost

    def write(self, samples):
        self.played.append(samples)
        return len(self.played) in self.starved


@pytest.fixture
def card(monkeypatch):
    found = FakeCard(noisy_like(0.6), lost=(2,), starved=(2, 3))
    monkeypatch.setattr(command, "sound_card", lambda: found)
    return found


def test_from_the_microphone_to_the_loudspeaker(cli, tiny_prior, card, tmp_path):
    out = tmp_path / "call.wav"
    before = signal.getsignal(signal.SIGTERM)
    ran = cli("stream", "--mic", "--speaker", 3, "-o", out, "--prior", tiny_prior, *QUICK)
    assert ran.code == 0, ran.err
    assert card.opened == [("speaker", "3", 16000, 1, 2048), ("microphone", "", 16000, 1, 2048)]
    assert "1 input overflows, 2 output underflows" in ran.err
    assert "load" in ran.err
    clean, rate = soundfile.read(out)
    assert (clean.size, rate) == (4 * 2048, 16000)
    assert 0 < np.abs(clean).sum() < np.abs(card.sound).sum()
    # A block of silence, then what the file holds.
    played = np.concatenate(card.played)[:, 0]
    assert not played[:2048].any()
    np.testing.assert_allclose(played[2048:], clean, atol=1e-4)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_file_to_the_loudspeaker(cli, tiny_prior, card, wav):
    path = wav("x.wav", noisy_like(0.5, 8000), 8000)
    ran = cli("stream", path, "--speaker", "--prior", tiny_prior, "-q", *QUICK)
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert card.opened == [("speaker", "", 8000, 1, 1024)]
    assert np.concatenate(card.played).shape == (4000 + 1024, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("x.wav", "--mic"), "an input itself"),
        (("--mic", "x.wav"), "no sound device"),
        (("--mic", "--latency", 0.064, "--block", 0.1), "exclude each other"),
        (("--mic", "--latency", 0.02, "--set", "inference.noisy_encoder=none"), "a latency of 0.02"),
        (("--mic", "--speaker", "--set", "inference.noisy_encoder=none"), "needs a noisy encoder"),
    ],
)
def test_what_makes_no_call(cli, tiny_prior, card, tmp_path, arguments, words):
    ran = cli("stream", *arguments, "-o", tmp_path / "o.wav", "--prior", tiny_prior)
    assert ran.code in (1, 2)
    assert words in ran.err
    assert len(ran.err.splitlines()) == 2, ran.err
    assert not (tmp_path / "o.wav").exists()


def test_without_sounddevice(cli, tiny_prior, monkeypatch, tmp_path):
    monkeypatch.setattr("vae_se.extras.missing", lambda packages: list(packages))
    ran = cli("stream", "--mic", "-o", tmp_path / "o.wav", "--prior", tiny_prior, *QUICK)
    assert ran.code == 2
    assert "pip install 'vae-se[live]'" in ran.err


def test_the_meter(monkeypatch, capsys):
    performance = Performance()
    performance.add(1600, 0.025)
    performance.lost = 2
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    meter = LevelMeter(performance, shown=True)
    meter.update(np.full((1, 100), 0.1), np.full((1, 100), 0.001))
    meter.update(np.ones((1, 100)), np.ones((1, 100)))  # too soon
    line = capsys.readouterr().err
    assert " -20 dB [#############.......]" in line
    assert " -60 dB [....................]" in line
    assert "load  25 %  xruns 2" in line
    assert line.count("\r") == 1
    assert level_db(np.zeros((1, 9))) == -60
    assert "25.0 ms (99 %)" in performance.report()
    assert Performance().report() == "no sound came"


def test_pieces():
    sound = np.arange(10.0)[None]
    assert [part.shape[1] for part in pieces([sound, sound[:, :3]], 4)] == [4, 4, 2, 3]
