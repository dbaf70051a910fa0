"""Long files: in parts what they are in one piece, in memory that does not grow with them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile

import numpy as np
import pytest
import soundfile

from tests.conftest import noisy_like
from vae_se.audio import files
from vae_se.audio.level import LevelMeter, active_rms, rms
from vae_se.audio.resample import Resampler, resample
from vae_se.enhancement import long_file
from vae_se.enhancement.enhancer import Enhancer
from vae_se.enhancement.sample_buffer import DiskBuffer, MemoryBuffer
from vae_se.errors import AudioError, OutputError

QUICK = {"inference__iterations": 2, "inference__averaging": 1, "inference__segment": 1.5,
         "inference__overlap": 0.5, "device": "cpu"}  # fmt: skip


@pytest.fixture(scope="module")
def enhancer(tiny_prior):
    return Enhancer.from_pretrained(tiny_prior, **QUICK)


def enhance_long(enhancer, *paths, **options):
    return long_file.enhance_long(enhancer.segmented_em, enhancer.config.output, *paths, **options)


@pytest.mark.parametrize(
    ("name", "rate", "subtype", "channels", "scale", "clip"),
    [
        ("x.wav", 16000, "PCM_16", 1, 1, "clamp"),
        ("x.flac", 44100, "PCM_24", 2, 3, "rescale"),
        ("x.wav", 8000, "DOUBLE", 2, 100, "clamp"),
        ("x.wav", 48000, "FLOAT", 1, 1e-3, "none"),
    ],
)
def test_in_parts_it_is_what_it_is_in_one_piece(
    enhancer, wav, tmp_path, monkeypatch, name, rate, subtype, channels, scale, clip
):
    sound = scale * np.stack([noisy_like(4.0, rate, seed=c) for c in range(channels)])
    sound[1:] = 0  # the second channel is silent
    path = wav(name, sound, rate, subtype=subtype)
    whole, parts, noise = (tmp_path / f"{which}{path.suffix}" for which in ("whole", "parts", "noise"))
    recording = files.read(path)
    speech, told = enhancer.enhance(recording.samples, rate, return_info=True, posterior=False)
    warnings = files.write(whole, speech, recording, clip)
    _, info = enhance_long(enhancer, path, parts, clip=clip, noise=noise)
    assert parts.read_bytes() == whole.read_bytes()
    assert info.warnings == [*told.warnings, *warnings]
    assert info.objective == told.objective
    files.write(whole, told.noise, recording, clip)
    assert noise.read_bytes() == whole.read_bytes()
    assert sorted(os.listdir(tmp_path)) == sorted({path.name, whole.name, parts.name, noise.name})


def test_long_files_go_that_way_by_themselves(enhancer, wav, tmp_path, monkeypatch):
    path = wav("x.wav", noisy_like(1.0))
    monkeypatch.setattr(long_file, "LONG", 15_999)
    assert enhancer.enhance_file(path, tmp_path / "a.wav", posterior=False).noise is None
    assert enhancer.enhance_file(path, tmp_path / "b.wav").noise is not None
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    baseline = Enhancer.from_pretrained(method="log-mmse")
    assert baseline.enhance_file(path, tmp_path / "c.wav", posterior=False).noise is not None


def test_a_file_that_changes_meanwhile(enhancer, wav, tmp_path):
    path = wav("x.wav", noisy_like(2.0))

    def touch(done, total):
        os.utime(path, ns=(0, done))

    with pytest.raises(AudioError, match="changed while it was read"):
        enhance_long(enhancer, path, tmp_path / "out.wav", progress=touch)
    assert os.listdir(tmp_path) == ["x.wav"]


def test_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: io.FileIO("/dev/full", "r+"))
    buffer = DiskBuffer(tmp_path, np.float32)
    with pytest.raises(OutputError, match="No space left") as error:
        buffer.append(np.zeros(5))
    assert "bytes per sample" in error.value.hint


@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_buffers_are_arrays(tmp_path, kind):
    rng = np.random.default_rng(0)
    new_buffer = DiskBuffer.in_folder(tmp_path) if kind == "disk" else MemoryBuffer
    buffer, truth = new_buffer(np.float32, 1000), np.zeros(1000, np.float32)
    for _ in range(30):
        start = int(rng.integers(0, 900))
        part = rng.standard_normal(100).astype(np.float32)
        buffer.add(start, part)
        truth[start : start + 100] += part
    np.testing.assert_array_equal(buffer.read(0, 2000), truth)
    buffer.append(np.ones(7, np.float32))
    assert buffer.size == 1007
    np.testing.assert_array_equal(buffer.read(999, 5000), [truth[-1], *np.ones(7)])
    assert os.listdir(tmp_path) == []


def test_positions_stay_when_samples_are_discarded():
    buffer = MemoryBuffer(np.float32)
    buffer.append(np.arange(10, dtype=np.float32))
    buffer.discard(4)
    buffer.append(np.arange(10, 12, dtype=np.float32))
    buffer.add(9, np.ones(2, np.float32))
    assert buffer.size == 12
    assert buffer.read(4, 50).tolist() == [4, 5, 6, 7, 8, 10, 11, 11]
    buffer.discard(12)
    assert buffer.read(12, 12).size == 0


def test_buffers_do_not_change_what_is_appended():
    samples = np.zeros(5, np.float32)
    buffer = MemoryBuffer(np.float32)
    buffer.append(samples)
    buffer.add(0, np.ones(5, np.float32))
    assert not samples.any()


@pytest.mark.parametrize("rates", [(48000, 16000), (16000, 44100), (11025, 16000), (8000, 8000)])
@pytest.mark.parametrize("length", [1, 700, 50_000])
def test_resampling_and_levels_do_not_depend_on_the_parts(rates, length):
    rng = np.random.default_rng(length)
    sound = rng.standard_normal((2, length)).astype(np.float32) * np.linspace(0, 1, length, dtype=np.float32)
    samples = -(-length * rates[1] // rates[0])
    resampler, meter, parts, start = Resampler(*rates, 2, np.float32, samples), LevelMeter(rates[0]), [], 0
    while start < length:
        part = sound[:, start : start + int(rng.integers(1, 3000))]
        start += part.shape[1]
        parts.append(resampler.push(part))
        meter.push(part[0])
    parts.append(resampler.finish())
    np.testing.assert_array_equal(np.concatenate(parts, 1), resample(sound, *rates, samples))
    assert meter.rms() == rms(sound[0], rates[0])
    assert meter.active_rms() == active_rms(sound[0], rates[0])


# The first recording brings the process to the memory that a chunk takes.
_MEMORY = """
import resource, sys
from pathlib import Path
import torch
from vae_se.enhancement.enhancer import Enhancer
from vae_se.enhancement.long_file import enhance_long

torch.set_num_threads(1)
settings = {"inference__iterations": 0, "inference__averaging": 1, "inference__segment": 6.0, "estep__draws": 1}
enhancer = Enhancer.from_pretrained(sys.argv[1], device="cpu", **settings)
for name in sys.argv[2:]:
    enhance_long(enhancer.segmented_em, enhancer.config.output, Path(name), Path(name).with_name("out.wav"))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is in other units elsewhere")
def test_memory_does_not_grow_with_the_file(tiny_prior, tmp_path):
    rng = np.random.default_rng(0)
    paths = []
    for minutes in (1, 6):
        paths.append(tmp_path / f"{minutes}.wav")
        soundfile.write(paths[-1], 0.1 * rng.standard_normal(minutes * 60 * 16000), 16000)
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
    command = [sys.executable, "-c", _MEMORY, str(tiny_prior), *map(str, paths)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    short, long = (1024 * int(line) for line in ran.stdout.split())
    # In one piece it would be 12 bytes a sample. The envelope is kept until it is half an hour long, 0.5.
    assert (long - short) / (5 * 60 * 16000) < 2
    assert soundfile.info(tmp_path / "out.wav").frames == 6 * 60 * 16000
