"""Reading and writing audio files."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vae_se.audio import files
from vae_se.audio.formats import container_of, extensions, output_format, writable_extension
from vae_se.audio.raw import RAW, RawFormat
from vae_se.audio.reader import Reader
from vae_se.errors import AudioError, OutputError, UsageError

RATE = 16000


def tone(seconds=0.25, rate=RATE, channels=1):
    time = np.arange(round(seconds * rate)) / rate
    return np.stack([0.3 * np.sin(2 * np.pi * (300 + 100 * c) * time) for c in range(channels)])


@pytest.mark.parametrize(
    ("name", "subtype", "rate", "channels"),
    [
        ("a.wav", "PCM_16", 16000, 1),
        ("a.wav", "PCM_U8", 8000, 1),
        ("a.wav", "PCM_24", 48000, 2),
        ("a.wav", "PCM_32", 44100, 3),
        ("a.wav", "FLOAT", 22050, 1),
        ("a.wav", "DOUBLE", 96000, 2),
        ("a.flac", "PCM_24", 44100, 2),
        ("a.aiff", "PCM_S8", 16000, 1),
        ("a.w64", "PCM_16", 11025, 2),
        ("a.caf", "ALAC_24", 44100, 1),
    ],
)
def test_what_is_read_is_written_back_bit_for_bit(tmp_path, wav, name, subtype, rate, channels):
    path = wav(name, tone(rate=rate, channels=channels), rate, subtype=subtype)
    recording = files.read(path)
    assert recording.samples.shape == (channels, round(0.25 * rate))
    assert (recording.rate, recording.subtype) == (rate, subtype)
    out = tmp_path / f"out{path.suffix}"
    assert files.write(out, recording.samples, recording) == []
    again = files.read(out)
    assert (again.rate, again.container, again.subtype) == (rate, recording.container, subtype)
    np.testing.assert_array_equal(again.samples, recording.samples)


@pytest.mark.parametrize(
    ("name", "subtype"), [("a.mp3", "MPEG_LAYER_III"), ("a.ogg", "VORBIS"), ("a.opus", "OPUS")]
)
def test_lossy_formats_keep_their_format_and_length(tmp_path, name, subtype):
    path = tmp_path / name
    container = container_of(path)
    soundfile.write(path, tone(1.0)[0], RATE, format=container, subtype=subtype)
    recording = files.read(path)
    out = tmp_path / f"out{path.suffix}"
    files.write(out, recording.samples, recording)
    again = files.read(out)
    assert (again.container, again.subtype, again.rate) == (container, subtype, recording.rate)
    assert again.samples.shape == recording.samples.shape
    assert np.corrcoef(again.samples[0], recording.samples[0])[0, 1] > 0.95


def test_integers_saturate_and_never_wrap(tmp_path):
    loud = np.array([[1.5, -1.5, 1.0, -1.0, 0.0]])
    for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32"):
        for clip in files.CLIP_MODES:
            like = files.Recording(loud, RATE, "WAV", subtype)
            warnings = files.write(tmp_path / "x.wav", loud, like, clip)
            assert len(warnings) == 1
            got = files.read(tmp_path / "x.wav").samples[0]
            assert got[0] > 0.99
            assert got[1] == -1.0
            assert abs(got[2] - (1 / 1.5 if clip == "rescale" else 1.0)) < 0.01


def test_floats_may_exceed_full_scale_as_far_as_the_input_did(tmp_path):
    loud = np.array([[1.5, -0.2]])
    like = files.Recording(loud, RATE, "WAV", "FLOAT")
    assert files.write(tmp_path / "x.wav", loud, like) == []
    assert files.read(tmp_path / "x.wav").samples[0, 0] == 1.5
    (warning,) = files.write(tmp_path / "x.wav", 2 * loud, like)
    assert "clipped" in warning
    assert files.read(tmp_path / "x.wav").samples[0, 0] == 1.5
    files.write(tmp_path / "x.wav", 2 * loud, like, clip="none")
    assert files.read(tmp_path / "x.wav").samples[0, 0] == 3.0


def test_writing_does_not_change_the_array(tmp_path):
    loud = np.array([[2.0, -2.0]])
    kept = loud.copy()
    for clip in files.CLIP_MODES:
        files.write(tmp_path / "x.wav", loud, files.Recording(loud, RATE), clip)
    np.testing.assert_array_equal(loud, kept)


@pytest.mark.parametrize(
    ("target", "container", "subtype", "expected"),
    [
        ("x.flac", "WAV", "FLOAT", ("FLAC", "PCM_24")),
        ("x.flac", "WAV", "PCM_16", ("FLAC", "PCM_16")),
        ("x.wav", "FLAC", "PCM_24", ("WAV", "PCM_24")),
        ("x.wav", "OGG", "VORBIS", ("WAV", "PCM_16")),
        ("x.wav", "MP3", "MPEG_LAYER_III", ("WAV", "PCM_16")),
        ("x.wav", "WAV", "MPEG_LAYER_III", ("WAV", "MPEG_LAYER_III")),
        ("x.wav", "CAF", "ALAC_24", ("WAV", "PCM_24")),
        ("x.wav", "AU", "ULAW", ("WAV", "ULAW")),
        ("x.wav", "WAVEX", "PCM_24", ("WAVEX", "PCM_24")),
        ("x.wav", "AIFF", "PCM_S8", ("WAV", "PCM_U8")),
        ("x.mp3", "MP3", "MPEG_LAYER_II", ("MP3", "MPEG_LAYER_III")),
        ("x.opus", "WAV", "PCM_16", ("OGG", "OPUS")),
        ("X.WAV", "WAV", "DOUBLE", ("WAV", "DOUBLE")),
    ],
)
def test_the_extension_decides_and_the_nearest_subtype_is_taken(target, container, subtype, expected):
    assert output_format(Path(target), container, subtype) == expected


PLAIN = {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAC_16", "ALAC_20", "ALAC_24",
         "ALAC_32", "ULAW", "ALAW"}  # fmt: skip


@pytest.mark.parametrize("target", sorted(extensions()))
def test_every_output_holds_plain_samples_or_what_its_container_has_by_default(target):
    path = Path("x" + target)
    for container in soundfile.available_formats():
        for subtype in soundfile.available_subtypes(container):
            got, kept = output_format(path, container, subtype)
            assert soundfile.check_format(got, kept), (container, subtype, got, kept)
            usual = PLAIN | {soundfile.default_subtype(got), "OPUS" if target == ".opus" else ""}
            assert got == container or kept in usual, (container, subtype, got, kept)


def test_an_mp3_becomes_a_wav_of_plain_samples(tmp_path):
    mp3 = tmp_path / "talk.mp3"
    soundfile.write(mp3, tone()[0], RATE)
    files.write(tmp_path / "out.wav", tone(), files.read(mp3))
    assert soundfile.info(tmp_path / "out.wav").subtype == "PCM_16"


def test_unknown_extensions(tmp_path):
    assert writable_extension(".FLAC") == ".FLAC"
    assert writable_extension(".raw") == writable_extension("") == ".wav"
    with pytest.raises(UsageError) as error:
        files.write(tmp_path / "x.wva", tone(), files.Recording(tone(), RATE))
    assert ".wav" in error.value.hint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"this is no sound at all\n" * 40, "not audio"),
        (b"RIFF\x24\x00\x00\x00WAVE", "not audio"),
        (b"\xf0\x7e\x00\x01", "MIDI sample dump"),
    ],
)
def test_what_is_not_audio(tmp_path, content, message):
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=message) as error:
        files.read(path)
    assert "x.wav" in str(error.value)
    assert error.value.hint
    with pytest.raises(AudioError, match=message):
        files.read(content, "<stdin>")


def test_missing_folder_headerless_and_sampleless(tmp_path, wav):
    with pytest.raises(AudioError, match="does not exist"):
        files.read(tmp_path / "x.wav")
    with pytest.raises(AudioError, match="is a folder"):
        files.read(tmp_path)
    (tmp_path / "x.raw").write_bytes(b"\0\1" * 100)
    with pytest.raises(AudioError, match="not audio"):
        files.read(tmp_path / "x.raw")
    with pytest.raises(AudioError, match="no samples"):
        files.read(wav("none.wav", np.zeros((1, 0))))


def test_a_file_that_was_cut_off(tmp_path, wav):
    path = wav("x.flac", np.random.default_rng(0).uniform(-0.5, 0.5, (1, RATE)))
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(AudioError, match="damaged or cut off"):
        files.read(path)


def test_a_wav_whose_header_does_not_know_its_length(tmp_path, wav):
    """What a program that writes into a pipe leaves behind: 0xffffffff where the length belongs."""
    data = wav("x.wav", tone()).read_bytes()
    endless = data[:4] + b"\xff" * 4 + data[8:40] + b"\xff" * 4 + data[44:]
    assert files.read(endless).samples.shape == tone().shape


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite(wav, bad):
    samples = tone()
    samples[0, 800:803] = bad
    path = wav("x.wav", samples, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"3 samples are NaN or infinite, the first at 0\.050 s"):
        files.read(path)


def test_nothing_is_left_behind_when_writing_fails(tmp_path, monkeypatch):
    like = files.Recording(tone(), RATE)
    path = tmp_path / "x.wav"
    files.write(path, like.samples, like)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        files.write(path, 0.5 * like.samples, like)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x.wav"]


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        files.prepare_folder(tmp_path / "file" / "x.wav")
    with pytest.raises(OutputError, match="it is a folder"):
        files.prepare_folder(tmp_path)


def test_a_format_that_cannot_hold_the_sound(tmp_path):
    like = files.Recording(tone(rate=96000), 96000, "MP3", "MPEG_LAYER_III")
    with pytest.raises(OutputError, match="cannot hold 1 channel at 96000 Hz") as error:
        files.write(tmp_path / "x.mp3", like.samples, like)
    assert error.value.hint == "write a .wav"


def test_bytes_for_a_pipe_are_a_complete_wav():
    like = files.Recording(tone(channels=2), RATE, "FLAC", "PCM_24")
    data, warnings = files.to_bytes(like.samples, like)
    again = files.read(data)
    assert warnings == []
    assert (again.container, again.subtype, again.samples.shape) == ("WAV", "PCM_24", (2, 4000))


@pytest.mark.parametrize(
    ("name", "container", "subtype"),
    [("x.wav", "WAV", "PCM_16"), ("x.w64", "W64", "PCM_24"), ("x.aiff", "AIFF", "PCM_16"),
     ("x.mp3", "MP3", "MPEG_LAYER_III")],
)  # fmt: skip
def test_a_file_that_was_cut_off_is_read_as_far_as_it_reaches_and_says_so(tmp_path, name, container, subtype):
    path = tmp_path / name
    soundfile.write(path, tone(4.0)[0], RATE, format=container, subtype=subtype)
    assert files.read(path).warnings == ()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    recording = files.read(path)
    assert 1.5 < recording.seconds < 2.5
    (warning,) = recording.warnings
    assert f"cut off: {recording.seconds:.1f} s" in warning


@pytest.mark.parametrize("rate", [1, 999, 2_000_000_000])
def test_rates_of_damaged_headers(wav, rate):
    data = bytearray(wav("x.wav", tone()).read_bytes())
    data[24:28] = rate.to_bytes(4, "little")
    with pytest.raises(AudioError, match=f"a rate of {rate} Hz"):
        files.read(bytes(data))


def test_a_header_that_promises_more_than_there_is_costs_nothing(tmp_path):
    """A W64 whose header says 10^12 frames; the file holds a hundred."""
    path = tmp_path / "x.w64"
    soundfile.write(path, np.zeros(100), RATE)
    data = bytearray(path.read_bytes())
    place = data.index((24 + 200).to_bytes(8, "little"))
    data[place : place + 8] = (24 + 2 * 10**12).to_bytes(8, "little")
    data[16:24] = (2 * 10**12).to_bytes(8, "little")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    recording = files.read(bytes(data))
    assert recording.samples.shape == (1, 100)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_parts_are_the_whole(wav):
    sound = np.random.default_rng(0).uniform(-1, 1, (3, 200_000))
    path = wav("x.flac", sound, subtype="PCM_24")
    reader = Reader(path)
    parts = list(reader.blocks())
    assert len(parts) > 2
    assert max(part.size for part in parts) <= 1 << 18
    np.testing.assert_array_equal(np.concatenate(parts, 1), files.read(path).samples)
    np.testing.assert_array_equal(next(reader.blocks()), parts[0])  # once more, from the start


@pytest.mark.parametrize(("name", "width"), [("s16le", 2), ("s24le", 3), ("s32le", 4), ("f32le", 4)])
def test_bare_samples_come_back_bit_for_bit(tmp_path, name, width):
    rng = np.random.default_rng(0)
    data = rng.uniform(-1, 1, 600).astype("<f4").tobytes() if name == "f32le" else rng.bytes(600 * width)
    recording = files.read(data, raw=RawFormat(RAW[name], 8000, 2))
    assert recording.samples.shape == (2, 300)
    assert recording.rate == 8000
    assert files.to_bytes(recording.samples, recording) == (data, [])
    files.write(tmp_path / "x.wav", recording.samples, recording)
    assert files.read(tmp_path / "x.wav").subtype == RAW[name]
