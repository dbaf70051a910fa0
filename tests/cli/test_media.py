"""Films and sound files that ffmpeg decodes: m4a, mp4, webm, mov, wma."""

from __future__ import annotations

import json
import shutil
import subprocess

import numpy as np
import pytest
import soundfile

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


@pytest.fixture
def enhance(cli, tiny_prior):
    """The command with options that make a file cheap."""
    options = ["--prior", str(tiny_prior), "--set", "inference.iterations=2", "--device", "cpu"]
    return lambda *arguments: cli("enhance", *options, *arguments)


@pytest.fixture
def media(wav, make_noisy, tmp_path):
    """``media("talk.mp4", film=True)``: a second of noisy speech, with pictures if wanted, made by ffmpeg."""

    def make(name, *extra, film=False, rate=16000):
        sound = wav("sound.wav", make_noisy(1.0, rate), rate)
        pictures = ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=1"] if film else []
        path = tmp_path / name
        subprocess.run(["ffmpeg", "-v", "error", *pictures, "-i", sound, *extra, "-shortest", path], check=True)
        sound.unlink()
        return path

    return make


def streams(path, kind):
    """The streams of a kind ("v" or "a"), as ffprobe shows them."""
    shown = subprocess.run(
        ["ffprobe", "-v", "error", "-show_streams", "-select_streams", kind, "-of", "json", path],
        capture_output=True,
        check=True,
    )
    return json.loads(shown.stdout)["streams"]


def pictures(path):
    """A digest of each coded picture, in order."""
    command = ["ffmpeg", "-v", "error", "-i", path, "-map", "0:v", "-c", "copy", "-f", "framemd5", "-"]
    shown = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    return [line.rsplit(",", 1)[1] for line in shown.splitlines() if not line.startswith("#")]


def sound(path):
    """The samples of the first audio stream, (T,)."""
    command = ["ffmpeg", "-v", "error", "-i", path, "-map", "0:a:0", "-f", "f32le", "-ac", "1", "-"]
    return np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.float32)


@needs_ffmpeg
@pytest.mark.parametrize(
    "name", ["film.mp4", *(pytest.param(name, marks=pytest.mark.slow) for name in ("film.mov", "film.webm"))]
)
def test_a_film_keeps_its_pictures_and_its_container(enhance, media, name):
    path = media(name, film=True, rate=48000)
    ran = enhance(path)
    assert ran.code == 0, ran.err
    made = path.with_name(f"film_enhanced{path.suffix}")
    assert pictures(made) == pictures(path)
    (before,), (after,) = streams(path, "a"), streams(made, "a")
    for key in ("codec_name", "sample_rate", "channels"):
        assert after[key] == before[key]
    noisy, clean = sound(path), sound(made)
    assert abs(clean.size - noisy.size) < 0.05 * 48000
    assert 0 < np.abs(clean).sum() < np.abs(noisy).sum()
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name, made.name]


@needs_ffmpeg
@pytest.mark.parametrize("name", ["memo.m4a", pytest.param("memo.wma", marks=pytest.mark.slow)])
def test_a_sound_file_is_written_back(enhance, media, name):
    path = media(name)
    assert enhance(path).code == 0
    made = path.with_name(f"memo_enhanced{path.suffix}")
    assert streams(made, "a")[0]["codec_name"] == streams(path, "a")[0]["codec_name"]
    assert streams(made, "v") == []


@needs_ffmpeg
def test_the_sound_of_a_film_goes_to_a_wav(enhance, media, tmp_path):
    path = media("film.mp4", film=True)
    assert enhance(path, "-o", tmp_path / "out.wav").code == 0
    info = soundfile.info(tmp_path / "out.wav")
    assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
    assert info.duration == pytest.approx(1.0, abs=0.1)


@pytest.mark.slow
@needs_ffmpeg
def test_sound_that_starts_late_stays_with_its_pictures(enhance, media, tmp_path):
    path = media("late.mkv", "-af", "asetpts=PTS+0.4/TB", "-c:a", "flac", "-c:v", "mjpeg", film=True)
    assert enhance(path).code == 0
    made = tmp_path / "late_enhanced.mkv"
    assert pictures(made) == pictures(path)
    clean = np.abs(sound(made))
    start = np.flatnonzero(clean > 0.05 * clean.max())[0] / 16000
    assert start == pytest.approx(0.4, abs=0.1)


@needs_ffmpeg
def test_a_film_without_sound_and_a_damaged_one(enhance, media, tmp_path):
    path = media("silent.mp4", "-an", film=True)
    ran = enhance(path)
    assert ran.code == 1
    assert "has no sound" in ran.err
    (tmp_path / "broken.m4a").write_bytes(b"not a film" * 100)
    ran = enhance(tmp_path / "broken.m4a")
    assert ran.code == 1
    assert "ffmpeg cannot process it" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.slow
@needs_ffmpeg
def test_a_film_in_blocks_is_the_same_film(enhance, media, monkeypatch):
    path = media("film.mp4", film=True)
    assert enhance(path, "--name", "short.wav").code == 0
    monkeypatch.setattr("vae_se.enhancement.long_file.LONG", 1000)
    assert enhance(path, "--name", "long.wav").code == 0
    assert enhance(path, "--name", "long.mp4", "--save-noise").code == 0
    folder = path.parent
    np.testing.assert_array_equal(
        soundfile.read(folder / "short.wav")[0], soundfile.read(folder / "long.wav")[0]
    )
    assert pictures(folder / "long.mp4") == pictures(path)


def test_without_ffmpeg_one_line_says_what_to_type(enhance, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    (tmp_path / "talk.m4a").write_bytes(b"sound")
    ran = enhance(tmp_path / "talk.m4a")
    assert ran.code == 1
    assert "talk.m4a needs ffmpeg, which is not installed" in ran.err
    assert "ffmpeg -i" in ran.err
    assert "talk.wav" in ran.err


def test_a_folder_lists_what_needs_ffmpeg(enhance, wav, make_noisy, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    wav("in/talk.wav", make_noisy(0.3))
    for name in ("a.m4a", "b.mp4"):
        (tmp_path / "in" / name).write_bytes(b"sound")
    ran = enhance(tmp_path / "in", "-o", tmp_path / "out", "--json")
    assert ran.code == 0, ran.err
    rows = {row["input"].rsplit("/", 1)[-1]: row for row in map(json.loads, ran.out.splitlines())}
    assert {name: row["status"] for name, row in rows.items()} == {
        "a.m4a": "skipped", "b.mp4": "skipped", "talk.wav": "done",
    }  # fmt: skip
    assert "needs ffmpeg" in rows["b.mp4"]["error"]
    assert ran.err.count("needs ffmpeg, which is not installed") == 2
    assert "1 done, 2 skipped" in ran.err
    (tmp_path / "in" / "talk.wav").unlink()
    ran = enhance(tmp_path / "in", "-o", tmp_path / "out")
    assert ran.code == 1
    assert "can be read without ffmpeg" in ran.err
