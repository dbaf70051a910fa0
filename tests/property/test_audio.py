"""Audio files: what holds for every sample, depth and shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vae_se.audio import files

BITS = {"PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}


@pytest.mark.parametrize("subtype", BITS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_every_integer_survives(subtype, data):
    top = 2 ** (BITS[subtype] - 1)
    shape = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 20)))
    integers = data.draw(hnp.arrays(np.int64, shape, elements=st.integers(-top, top - 1)))
    samples = integers / top
    data, warnings = files.to_bytes(samples, files.Recording(samples, 16000, "WAV", subtype))
    assert warnings == []
    again = files.read(data)
    np.testing.assert_array_equal(again.samples * top, integers)


@settings(max_examples=60, deadline=None)
@given(
    samples=hnp.arrays(
        np.float64, st.tuples(st.integers(1, 3), st.integers(1, 20)), elements=st.floats(-1e6, 1e6, width=32)
    ),
    subtype=st.sampled_from(["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"]),
    clip=st.sampled_from(files.CLIP_MODES),
)
def test_the_written_is_in_range_keeps_its_sign_and_its_shape(samples, subtype, clip):
    fitted, _ = files.fit(samples, subtype, clip)
    again = files.read(
        files.to_bytes(fitted, files.Recording(samples, 16000, "WAV", subtype), "none")[0]
    ).samples
    assert again.shape == samples.shape
    if subtype.startswith("PCM") or clip != "none":
        assert np.abs(again).max() <= 1.0
    step = 1 / 128 if subtype == "PCM_U8" else 2e-5
    big = np.abs(fitted) > step
    np.testing.assert_array_equal(np.sign(again[big]), np.sign(samples[big]))
