"""Live streams: exact reconstruction, the delay that is promised, the same whatever the parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.conftest import noisy_like
from vae_se.config import Config
from vae_se.enhancement import live_channel
from vae_se.enhancement.enhancer import Enhancer
from vae_se.enhancement.live import LiveEnhancer
from vae_se.enhancement.live_channel import LiveDelay
from vae_se.enhancement.live_em import LiveEM
from vae_se.enhancement.live_frames import LiveFrames, synthesis_window
from vae_se.errors import PriorError, UsageError
from vae_se.noise import NOISES, moving_window
from vae_se.noise.moving_window import FRAMES, MovingWindow
from vae_se.noisy_encoder import streaming
from vae_se.noisy_encoder.convolutional import ConvolutionalNoisyEncoder
from vae_se.noisy_encoder.convolutional_stream import ConvolutionalStream
from vae_se.noisy_encoder.network import NoisyEncoder
from vae_se.noisy_encoder.store import save_noisy_encoder
from vae_se.priors import load_prior
from vae_se.signal_spec import SignalSpec
from vae_se.stft import STFT

QUICK = {"inference__iterations": 2, "inference__averaging": 1, "output__floor_db": np.inf, "device": "cpu"}
LATENCIES = [0.032, 0.048, 0.064, 0.08, 0.096, 0.304]


def random_encoder(kind, bins=513, latents=2, **settings):
    """An untrained network with outputs that depend on the input."""
    sizes = {"width": 8} | ({"channels": 2, "blocks": 7} if kind is ConvolutionalNoisyEncoder else {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = kind(bins, latents, **(sizes | settings))
    return net.eval().requires_grad_(False)


def random_power(frames, bins=513, seed=0):
    return torch.rand(1, frames, bins, generator=torch.Generator().manual_seed(seed)) ** 4


@pytest.fixture(scope="module")
def enhancer(tiny_prior):
    """An enhancer whose prior has an untrained noisy encoder."""
    net = random_encoder(NoisyEncoder, hidden_size=8)
    save_noisy_encoder(net, load_prior(tiny_prior), tiny_prior / "noisy_encoder")
    yield Enhancer.from_pretrained(tiny_prior, **QUICK)
    for file in (tiny_prior / "noisy_encoder").iterdir():
        file.unlink()
    (tiny_prior / "noisy_encoder").rmdir()


def streamed(enhancer, sound, sizes, rate=16000, **options):
    channels = 1 if sound.ndim == 1 else len(sound)
    live = LiveEnhancer(enhancer, rate, channels, **options)
    out, start, turn = [], 0, 0
    while start < sound.shape[-1]:
        size = sizes[turn % len(sizes)]
        out.append(np.atleast_2d(live.push(sound[..., start : start + size])))
        start, turn = start + size, turn + 1
    return np.concatenate([*out, live.flush()], 1).reshape(sound.shape)


@pytest.mark.parametrize("latency", LATENCIES)
@pytest.mark.parametrize("signal", [SignalSpec(), SignalSpec(8000, 256, 64)])
def test_frames_that_nothing_changed_give_the_delayed_input(latency, signal):
    delay = LiveDelay.within(latency, signal)
    assert delay.hops * signal.hop / signal.rate <= latency
    frames = LiveFrames(signal.stft, delay.block, delay.span * signal.hop, torch.device("cpu"))
    step = delay.block * signal.hop
    sound = np.random.default_rng(0).standard_normal(12 * step).astype(np.float32)
    parts = [frames.synthesise(frames.analyse(part)) for part in np.split(sound, 12)]
    lag = (delay.span - 1) * signal.hop
    out = np.concatenate(parts)
    np.testing.assert_allclose(out[lag:], sound[: out.size - lag], atol=2e-6)
    np.testing.assert_allclose(out[:lag], 0, atol=1e-6)
    # The spectra are those of the transform.
    whole = signal.stft.analyse(torch.from_numpy(sound))
    frames = LiveFrames(signal.stft, delay.block, delay.span * signal.hop, torch.device("cpu"))
    torch.testing.assert_close(frames.analyse(sound[:step]), whole[: delay.block], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("span", [100, 256, 1280])
def test_a_synthesis_window_that_cannot_be(span):
    with pytest.raises(UsageError, match="synthesis window"):
        synthesis_window(STFT(), span)


@pytest.mark.parametrize(
    ("latency", "taken"), [(0.064, "causal"), (0.096, "causal"), (0.304, "auto"), (1.0, "auto")]
)
def test_a_live_stream_takes_the_noisy_encoder_of_its_latency(latency, taken):
    assert LiveEnhancer.adapted(Config(), latency=latency).inference.noisy_encoder == taken
    for given in ("my-folder", None):
        config = Config().override({"inference.noisy_encoder": given})
        assert LiveEnhancer.adapted(config, latency=latency).inference.noisy_encoder == given


def test_the_shipped_prior_has_a_causal_noisy_encoder_for_calls():
    network = LiveEnhancer.from_pretrained(16000).enhancer.em.noisy_encoder
    assert isinstance(network, ConvolutionalNoisyEncoder)
    assert network.causal


def test_64_ms_are_64_ms(enhancer, monkeypatch):
    """With a filter of 1 the output is the input, and every sample comes 64 ms after it at the latest."""
    live = LiveEnhancer(enhancer, 16000)
    assert live.latency == 0.064
    monkeypatch.setattr(LiveEM, "next", lambda self, power, scale, absent: torch.ones_like(power))
    sound = noisy_like(0.7).astype(np.float32)
    given = [live.push(sound[i : i + 100]) for i in range(0, sound.size, 100)]
    np.testing.assert_allclose(np.concatenate([*given, live.flush()[0]]), sound, atol=1e-5)
    behind = np.arange(100, sound.size + 1, 100) - np.cumsum([part.size for part in given])
    assert behind.max() < 1024 + 100


@pytest.mark.parametrize("latency", [0.064, 0.304])
def test_the_future_beyond_the_latency_makes_no_difference(enhancer, latency):
    sound = noisy_like(1.2).astype(np.float32)
    other = sound.copy()
    other[12000:] = noisy_like(1.0, seed=5)[:7200]
    one, two = (streamed(enhancer, x, [500], latency=latency) for x in (sound, other))
    late = round(latency * 16000)
    np.testing.assert_array_equal(one[: 12000 - late], two[: 12000 - late])
    assert np.abs(one - two)[12000:].max() > 0
    assert 0 < np.abs(one).sum() < np.abs(sound).sum()


@pytest.mark.parametrize("more", [0, 1, 256, 257, 600, 1000])
def test_frames_after_the_end_do_not_exist(enhancer, monkeypatch, more):
    """Zeros that push the last samples out are no look-ahead: the network would take them for a pause, and
    speech that ends abruptly before them for a knock."""
    heard, take = [], streaming.RecurrentStream.push

    def counted(self, power, level=1.0):
        heard.append(power.shape[1])
        return take(self, power, level)

    monkeypatch.setattr(streaming.RecurrentStream, "push", counted)
    sound = noisy_like(1.1).astype(np.float32)[: 15 * 1024 + more]
    out = streamed(enhancer, sound, [500], latency=0.304)
    assert out.size == sound.size
    assert np.abs(out[-3000:]).max() > 0
    assert sum(heard) == -(-sound.size // 256) + 3  # the last frame begins less than a hop before the end


@pytest.mark.parametrize("rate", [16000, 44100])
def test_parts_channels_and_silence(enhancer, rate):
    sound = noisy_like(0.5, rate).astype(np.float32)
    whole = streamed(enhancer, sound, [sound.size], rate)
    np.testing.assert_array_equal(streamed(enhancer, sound, [1, 700, 0, 3000], rate), whole)
    both = streamed(enhancer, np.stack([0 * sound, sound]), [4000], rate)
    np.testing.assert_array_equal(both[1], whole)
    assert not both[0].any()


@pytest.mark.parametrize("samples", [0, 1, 767, 768, 2049])
def test_as_long_as_the_input(enhancer, samples):
    out = streamed(enhancer, noisy_like(0.2)[:samples].astype(np.float32), [700])
    assert out.shape == (samples,)
    assert np.isfinite(out).all()


@pytest.mark.parametrize("scale", [2.0**-13, 2.0**10])  # the thresholds of the level are powers of two
def test_level_passes_through(enhancer, scale):
    sound = noisy_like(0.8).astype(np.float32)
    one = streamed(enhancer, sound, [4000])
    two = streamed(enhancer, (scale * sound).astype(np.float32), [4000]) / scale
    np.testing.assert_allclose(two, one, atol=5e-3 * np.abs(one).max())


def test_sound_after_silence(enhancer):
    late = np.concatenate([np.zeros(8000, np.float32), noisy_like(0.5).astype(np.float32)])
    out = streamed(enhancer, late, [768])
    assert np.isfinite(out).all()
    assert not out[:7000].any()
    assert out[9000:].any()


def test_what_cannot_be_live(enhancer, tiny_prior):
    with pytest.raises(UsageError, match=r"a latency of 0\.01"):
        LiveEnhancer(enhancer, 16000, latency=0.01)
    with pytest.raises(UsageError, match="carries noise spectra on"):
        streamed(Enhancer.from_pretrained(tiny_prior, noise__name="stationary", **QUICK), noisy_like(0.2), [99])
    without = Enhancer.from_pretrained(tiny_prior, inference__noisy_encoder=None, **QUICK)
    with pytest.raises(UsageError, match="needs a noisy encoder"):
        LiveEnhancer(without, 16000)
    with pytest.raises(UsageError, match="has the E-step vem"):
        LiveEnhancer(Enhancer.from_pretrained(tiny_prior, estep__name="mh", **QUICK), 16000)
    with pytest.raises(UsageError, match="0 iterations"):
        LiveEnhancer(Enhancer.from_pretrained(tiny_prior, **QUICK | {"inference__iterations": 0}), 16000)


@pytest.mark.parametrize("sizes", [[1, 2, 3, 5, 40, 1, 30, 7], [2] * 40])
def test_a_causal_network_in_parts_is_the_network_on_the_whole(sizes):
    net = random_encoder(ConvolutionalNoisyEncoder, causal=True, noise_width=True)
    power = random_power(150)
    whole = net(power, torch.ones(1, 150))
    stream, at = streaming.encoder_stream(net, 8), 0
    assert isinstance(stream, ConvolutionalStream)
    for size in sizes:
        found = stream.push(power[:, at : at + size])
        at += size
        assert_same_encoding(found, whole.frames(slice(max(0, at - 8), at)))


@pytest.mark.parametrize("causal", [True, False])
def test_a_change_of_level_reaches_what_was_heard_before(causal):
    """The mean spectrum, and the window of a two-way network, are those of the power at the new level."""
    net = random_encoder(ConvolutionalNoisyEncoder, causal=causal)
    power = random_power(24) + 0.1
    one, two = ConvolutionalStream(net, 4, revised=30), ConvolutionalStream(net, 4, revised=30)
    one.push(power[:, :20], 4.0)
    two.push(power[:, :20], 0.5)
    found, expected = one.push(power[:, 20:], 0.5), two.push(power[:, 20:], 0.5)
    torch.testing.assert_close(one._sum, two._sum, atol=1e-3, rtol=1e-4)
    if not causal:
        torch.testing.assert_close(found.log_noise, expected.log_noise, atol=1e-3, rtol=1e-3)


def test_a_two_way_network_in_parts():
    """As long as no frame has left the window it is the network on what has been received. Afterwards, earlier
    frames keep what their layers had."""
    net = random_encoder(ConvolutionalNoisyEncoder, noise_width=True)
    power = random_power(90)
    stream = ConvolutionalStream(net, 6, revised=40)
    for end in range(4, 92, 4):
        found = stream.push(power[:, end - 4 : end])
        whole = net(power[:, :end], torch.ones(1, min(end, 90)))
        expected = whole.frames(slice(-6, None))
        if end <= 40:
            assert_same_encoding(found, expected)
    error = (found.posterior.mean - expected.posterior.mean).abs().mean()
    assert error < 0.1 * whole.posterior.mean.std()


def assert_same_encoding(one, two):
    for a, b in (
        (one.posterior.mean, two.posterior.mean),
        (one.posterior.log_variance, two.posterior.log_variance),
        (one.log_noise, two.log_noise),
        (one.log_deviation, two.log_deviation),
        (one.noise_std, two.noise_std),
    ):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_a_recurrent_network_in_parts():
    """In one part it is the network itself; in many, the frames before the last window were read with a
    look-ahead of the window."""
    net = random_encoder(NoisyEncoder, hidden_size=8)
    power = random_power(60)
    whole = net(power, torch.ones(1, 60))
    stream = streaming.RecurrentStream(net, 60, revised=60)
    found = stream.push(power)
    torch.testing.assert_close(found.posterior.mean, whole.posterior.mean)
    torch.testing.assert_close(found.log_noise, whole.log_noise)
    stream = streaming.RecurrentStream(net, 6, revised=24)
    for start in range(0, 60, 3):
        found = stream.push(power[:, start : start + 3])
    assert found.log_noise.shape == (1, 6, 513)
    spread = whole.posterior.mean.std()
    assert (found.posterior.mean - whole.posterior.mean[:, -6:]).abs().mean() < 0.1 * spread


def test_any_other_network_reads_a_window():
    net = random_encoder(NoisyEncoder, causal=True, hidden_size=8)
    stream, power = streaming.encoder_stream(net, 3), random_power(streaming.WINDOW + 9)
    assert isinstance(stream, streaming.WindowStream)
    for start in range(0, power.shape[1], 3):
        found = stream.push(power[:, start : start + 3])
    window = power[:, -streaming.WINDOW :]
    expected = net(window, torch.ones(window.shape[:2]))
    torch.testing.assert_close(found.log_noise, expected.log_noise[:, -3:])
    with pytest.raises(UsageError, match="needs a noisy encoder"):
        streaming.encoder_stream(None, 3)


def test_the_noise_of_a_stream_is_learnt():
    """Without speech, the factors approach the power; the window is bounded; the level may change."""
    generator = torch.Generator().manual_seed(1)
    shape = 0.1 + torch.rand(1, 1, 33, generator=generator)
    noise = MovingWindow(NOISES["nmf"](rank=2, signal=SignalSpec(16000, 64, 16)), 0, "")
    level = 1.0
    for number in range(80):
        level = 4.0 if number > 40 else 1.0
        true = shape.expand(1, 3, 33) / level
        power = true * -torch.log1p(-torch.rand(1, 3, 33, generator=generator))
        noise.begin(power + 1e-8, torch.full_like(true, 1.0 / level), level)
        noise.refine(torch.zeros(1, 3, 33))
        noise.end(torch.zeros(1, 3, 33))
    ratio = noise.variance / true
    assert (ratio - ratio.log() - 1).mean() < 0.1
    assert noise._window.power.shape[1] == FRAMES


def test_a_noise_that_begins_is_followed(monkeypatch):
    """The spectra of a stream are fitted to a proposed noise that they cannot describe."""

    def misfit():
        """After a second and a half of steady noise, the divergence in the third block of a loud one."""
        noise = MovingWindow(NOISES["nmf"](rank=4, signal=SignalSpec(16000, 64, 16)), 0, "")
        hum, bang = torch.full((1, 2, 33), 1.0), torch.full((1, 2, 33), 0.1)
        bang[..., 20:] = 100.0
        for variance in [hum] * 48 + [bang] * 3:
            noise.begin(variance, variance, 1.0)
            ratio = variance / noise.variance
            noise.end(torch.zeros(1, 2, 33))
        return (ratio - ratio.log() - 1).mean()

    with_fits = misfit()
    monkeypatch.setattr(moving_window, "NEW", float("inf"))
    without = misfit()
    assert with_fits < 0.5 * without


def test_blocks_do_not_grow(enhancer, monkeypatch):
    """What a stream keeps is bounded: the buffers have the same size after one second and after three."""
    monkeypatch.setattr(live_channel, "MOST_BLOCK_TWO_WAY", 3)
    live = LiveEnhancer(enhancer, 16000, latency=0.304)
    sizes = []
    for _ in range(2):
        live.push(noisy_like(2.0).astype(np.float32))
        (channel,) = live._streams
        window = channel._em._noise._window
        sizes.append((channel._spectra.shape, window.power.shape, channel._em._encoder._forward.shape))
    assert sizes[0] == sizes[1]


def test_a_prior_with_memory_is_refused():
    with pytest.raises((UsageError, PriorError), match="ties them together"):
        LiveEnhancer(Enhancer.from_pretrained("dkf", **QUICK), 16000)
