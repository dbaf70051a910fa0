"""Dynamical priors: dependencies between latents and speech, and the bound."""

import math
from pathlib import Path

import pytest
import torch

from tests.toys import SIGNAL
from vae_se.errors import UsageError
from vae_se.likelihood import LOG_PI
from vae_se.numerics import POWER_FLOOR
from vae_se.priors import PRIORS, load_prior
from vae_se.priors.dynamical import Dynamical
from vae_se.priors.dynamical.linear_recurrence import linear_recurrence
from vae_se.priors.dynamical.sequences import CELLS, recurrent, reversed_in_time, run, shifted, step

KINDS = {
    "dkf": {}, "dkf-driven": {}, "storn": {}, "vrnn": {}, "srnn": {}, "rvae": {},
    "rvae-noncausal": {"causal": False}, "dsae": {"static": 1}, "latent-rnn": {},
}  # fmt: skip
CAUSAL = [kind for kind in KINDS if kind not in ("rvae-noncausal", "dsae")]
AUTOREGRESSIVE = ["storn", "vrnn", "srnn"]
FRAMES = 7


def make(kind, latent_dim=3, hidden=(6, 12), hidden_size=5, spread=0.15, **more):
    settings = dict(KINDS[kind], hidden=hidden, latent_dim=latent_dim, hidden_size=hidden_size, signal=SIGNAL)
    settings |= more
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        prior = PRIORS[kind.removesuffix("-noncausal")](**settings).double()
        with torch.no_grad():
            for parameter in prior.parameters():
                parameter.add_(spread * torch.randn_like(parameter))
    return prior.eval()


def speech(batch=2, frames=FRAMES, seed=1):
    shape = (batch, frames, SIGNAL.stft.bins)
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 10


def latents(prior, draws=1, frames=FRAMES, seed=2):
    shape = (1, draws, frames, prior.latent_dim)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def moved(values, other):
    """Frames (N,) in which two tensors (..., N, D) differ."""
    return (values - other).abs().amax(-1).flatten(0, -2).amax(0) > 1e-12


@pytest.fixture(params=list(KINDS))
def kind(request):
    return request.param


@pytest.fixture
def prior(kind):
    return make(kind)


@pytest.mark.parametrize("cell", CELLS)
def test_a_step_is_what_the_whole_layer_does(cell):
    layer = recurrent(cell, 4, 3).double()
    sequence = torch.randn(2, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    state, found = torch.zeros(2, 3, dtype=torch.float64), []
    for now in sequence.unbind(1):
        state = step(layer, now, state)
        found.append(state)
    torch.testing.assert_close(torch.stack(found, 1), run(layer, sequence))


@pytest.mark.parametrize("frames", [1, 2, 3, 7, 16, 30])
def test_a_linear_recurrence_is_a_loop_over_frames(frames):
    generator = torch.Generator().manual_seed(0)
    shape = (2, frames, 3)
    decay = torch.rand(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    inputs = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    state, states = torch.zeros(2, 3, dtype=torch.float64), []
    for n in range(frames):
        state = decay[:, n] * state + inputs[:, n]
        states.append(state)
    torch.testing.assert_close(linear_recurrence(decay, inputs), torch.stack(states, 1))
    assert torch.autograd.gradcheck(linear_recurrence, (decay, inputs))


@pytest.mark.parametrize("kind", list(KINDS))
def test_without_a_chain_no_step_of_the_posterior_depends_on_another(kind):
    """Then all steps are computed at once, and each depends on the whole recording."""
    prior = make(kind, cell="mingru", chained=False)
    power = speech(1)
    posterior, z = prior.encode(power), latents(prior)
    other = z.clone()
    other[..., 3, :] += 1
    differs = moved(posterior.log_prob(z).unsqueeze(-1), posterior.log_prob(other).unsqueeze(-1))
    assert differs.tolist() == [n == 3 for n in range(FRAMES)]
    drawn, log_q = posterior.rsample(2, torch.Generator().manual_seed(0))
    torch.testing.assert_close(posterior.log_prob(drawn), log_q)
    assert torch.isfinite(prior.reconstruct(power, torch.Generator().manual_seed(0)).kl).all()


def test_sequences_are_turned_round_within_their_length():
    sequence = torch.arange(10.0).view(2, 5, 1)
    mask = torch.tensor([[1.0, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    assert reversed_in_time(sequence, mask)[..., 0].tolist() == [[2, 1, 0, 3, 4], [9, 8, 7, 6, 5]]
    assert torch.equal(reversed_in_time(sequence, None), sequence.flip(1))
    assert shifted(sequence)[0, :, 0].tolist() == [0, 0, 1, 2, 3]


def test_padding_is_respected(prior):
    power, mask = speech(), torch.ones(2, FRAMES, dtype=torch.float64)
    mask[1, 5:] = 0
    whole, alone = prior.encode(power, mask), prior.encode(power[1:, :5])
    torch.testing.assert_close(whole.mean[1, :5], alone.mean[0])
    torch.testing.assert_close(whole.log_variance[1, :5], alone.log_variance[0])
    z = latents(prior, draws=2).expand(2, -1, -1, -1)
    torch.testing.assert_close(prior.decode(z, mask)[1, :, :5], prior.decode(z[1:, :, :5])[0])
    torch.testing.assert_close(prior.log_prior(z)[1, :, :5], prior.log_prior(z[1:, :, :5])[0])
    weight = prior.log_weight(power, 3, torch.Generator().manual_seed(0), mask)
    assert weight.shape == (2, 3, FRAMES)


def test_the_posterior_depends_on_earlier_latents(prior, kind):
    """q(z_n | z_1..n-1, x): a later latent changes nothing, an earlier one does."""
    posterior, z = prior.encode(speech(1)), latents(prior)
    other = z.clone()
    other[..., 3, :] += 1
    differs = moved(posterior.log_prob(z).unsqueeze(-1), posterior.log_prob(other).unsqueeze(-1))
    assert not differs[:3].any()
    assert differs[3]
    if kind == "latent-rnn":  # not chained
        assert not differs[4:].any()
        return
    assert differs[4]
    if kind in ("dkf", "dkf-driven", "srnn"):  # Markov
        assert not differs[5:].any()
    else:
        assert differs[5:].all()


def test_dependencies_of_a_frame_s_spectrum(prior, kind):
    z = latents(prior)
    other = z.clone()
    other[..., 3, -1] += 1
    differs = moved(prior.decode(z), prior.decode(other))
    assert differs[3]
    if kind in CAUSAL or kind == "dsae":
        assert not differs[:3].any()
    assert differs[4:].any() == (kind not in ("dkf", "dkf-driven", "dsae", "latent-rnn"))
    if kind == "rvae-noncausal":
        assert differs.all()
    if kind == "dsae":  # the first frame's static latent is the voice of all; later ones are empty
        for frame, all_differ in ((0, True), (2, False)):
            other = z.clone()
            other[..., frame, 0] += 1
            assert moved(prior.decode(z), prior.decode(other)).all() == all_differ
            assert all_differ or torch.equal(prior.decode(z), prior.decode(other))


def test_the_voice_of_dsae_is_one_latent_of_the_first_frame_and_empty_later():
    """Where it does not exist, q is N(0, 1) as p is, and it costs nothing."""
    prior, power = make("dsae"), speech()
    posterior = prior.encode(power)
    assert not posterior.mean[:, 1:, 0].any()
    assert not posterior.log_variance[:, 1:, 0].any()
    kl = prior.reconstruct(power, torch.Generator().manual_seed(0)).kl
    assert not kl[:, 1:, 0].any()
    assert (kl[:, 0] > 0).all()
    assert (kl[:, 1:, 1:] > 0).all()


def test_a_frame_depends_on_earlier_speech_only(prior, kind):
    """Given the true past, frame n must not depend on features of n or later: the bound is on log p(s).

    In dkf-driven p(z_n | ...) depends on frame n, by the activity u_n; its bound is on log p(s | u).
    """
    z, features = latents(prior)[0], prior.features(speech(1))
    other = features.clone()
    other[:, 3] += 1
    (eta, transition), (other_eta, other_transition) = prior.given(z, features), prior.given(z, other)
    differs = moved(eta, other_eta)
    assert not differs[:4].any()
    assert bool(differs[4]) == (kind in AUTOREGRESSIVE)
    if transition is not None:
        told = moved(transition[0], other_transition[0])
        assert not told[:3].any()
        assert bool(told[3]) == prior.takes_activity
        assert bool(told[4]) == (kind in ("vrnn", "srnn"))
    assert prior.takes_activity == (kind == "dkf-driven")


def test_given_the_activity_the_driven_filter_does_not_depend_on_speech():
    prior, power = make("dkf-driven"), speech(1)
    z, drive = latents(prior), prior.activity(power)
    eta, transition = prior.given(z[0], prior.features(power))
    fixed_eta, fixed = prior.driven_by(drive).without_speech(z[0], None)
    torch.testing.assert_close(eta, fixed_eta)
    torch.testing.assert_close(transition[0], fixed[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(transition[1], fixed[1], rtol=1e-5, atol=1e-6)


def test_the_bound_given_the_activity_is_reported_apart():
    """It is no bound on log p(s), so the card and the comparison of priors do not rank it with the others."""
    root = Path(__file__).parents[2]
    caution = PRIORS["dkf-driven"].caution
    assert "log p(s | u)" in caution
    assert caution in (root / "pretrained/dkf-driven/README.md").read_text()
    lines = (root / "eval/results/priors.md").read_text().splitlines()
    names, *rows = [cells for line in lines if len(cells := line.strip("|").split("|")) == 17]
    row = next(cells for cells in rows if "`dkf-driven`" in cells[0])
    found = {name.strip(): cell.strip() for name, cell in zip(names, row, strict=True)}
    assert (found["ELBO"], found["KL"], found["IWAE"]) == ("", "", "")


#: Whether q(z_n | ...) depends on the speech before n. By d-separation it need not in dkf, dkf-driven and
#: causal rvae, which have the past in the latents alone; it must in rvae-noncausal and the autoregressive ones.
#: In dsae it need not, given v and z_1..n-1, but does: it shares its context with q(v | s_1..N).
USES_THE_PAST = {
    "dkf": False, "dkf-driven": False, "rvae": False, "rvae-noncausal": True, "storn": True, "vrnn": True,
    "srnn": True, "dsae": True, "latent-rnn": True,
}  # fmt: skip


def test_the_posterior_depends_on_the_speech_as_its_table_says(prior, kind):
    """Given the earlier latents, z_n depends on the speech from n on; in some models on the speech before."""
    assert set(USES_THE_PAST) == set(KINDS)
    z, power = latents(prior), speech(1)
    for frame in range(FRAMES):
        other = power.clone()
        other[:, frame] *= 3
        differs = moved(
            prior.encode(power).log_prob(z).unsqueeze(-1), prior.encode(other).log_prob(z).unsqueeze(-1)
        )
        assert differs[: frame + 1].all()
        assert differs[frame + 1 :].tolist() == [USES_THE_PAST[kind]] * (FRAMES - frame - 1)


def test_the_table_of_the_documentation_says_so_too():
    """docs/dynamical.md: the last column has s_1..N where the posterior hears the speech before n."""
    text = (Path(__file__).parents[2] / "docs/dynamical.md").read_text()
    table = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    posterior = {cells[0].strip("`"): cells[3] for cells in table if len(cells) == 4}
    assert {kind: "s_1..N" in given for kind, given in posterior.items()} == USES_THE_PAST
    assert all(("s_1..N" in given) != ("s_n..N" in given) for given in posterior.values())
    assert "`dsae` is an exception" in " ".join(text.split())


@pytest.mark.parametrize("kind", AUTOREGRESSIVE)
def test_a_roll_out_conditions_on_its_own_output(kind):
    prior = make(kind)
    z = latents(prior, draws=2)
    eta, log_prior = prior.generate(z)
    flat = eta.flatten(0, 1)
    again, transition = prior.given(z.flatten(0, 1), prior.own_features(flat))
    torch.testing.assert_close(again, flat)
    if transition is not None:
        normal = torch.distributions.Normal(transition[0], (0.5 * transition[1]).exp())
        torch.testing.assert_close(log_prior[0], normal.log_prob(z[0]).sum(-1))


@pytest.mark.parametrize("kind", AUTOREGRESSIVE)
def test_scheduled_sampling_changes_the_past(kind):
    prior, power = make(kind), speech()

    def trained(own_past):
        return prior.reconstruct(power, torch.Generator().manual_seed(5), None, own_past).log_variance

    assert torch.equal(trained(0.0), prior.reconstruct(power, torch.Generator().manual_seed(5)).log_variance)
    assert not torch.allclose(trained(1.0), trained(0.0))
    # The first frame has no past at all.
    torch.testing.assert_close(trained(1.0)[:, 0], trained(0.0)[:, 0])


@pytest.mark.parametrize("kind", ["dkf", "dkf-driven", "dsae", "latent-rnn"])
def test_the_conditional_prior_depends_on_earlier_latents(kind):
    """It is p(z_n | z_1..n-1) of log_prior, and a latent changes it from the next step on."""
    prior = make(kind)
    z = latents(prior, draws=2)
    mean, log_variance = prior.conditional_prior(z)
    normal = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    torch.testing.assert_close(prior.log_prior(z), normal.log_prob(z).sum(-1))
    other = z.clone()
    other[..., 3, :] += 1
    differs = moved(mean, prior.conditional_prior(other)[0])
    assert not differs[:4].any()
    assert differs[4]


def test_sampling_follows_log_prior(prior):
    """Draws from p(z): where they stand, log p is on average minus the entropy, step by step."""
    z = torch.cat([prior.sample(6, torch.Generator().manual_seed(seed)) for seed in range(400)], 1)
    transition = prior.without_speech(z[0], None)[1]
    mean, log_variance = transition or (torch.zeros_like(z[0]), torch.zeros_like(z[0]))
    standard = (z[0] - mean) * torch.exp(-0.5 * log_variance)
    assert standard.mean().abs() < 0.05
    assert (standard.std() - 1).abs() < 0.05


def test_divergence_of_a_step_agrees_with_draws(prior):
    power, generator = speech(1), torch.Generator().manual_seed(3)
    many = power.expand(4000, -1, -1)
    prior.requires_grad_(False)
    closed = prior.reconstruct(many, generator).kl.sum((1, 2))
    posterior = prior.encode(power)
    z, log_q = posterior.rsample(4000, generator)
    transition = prior.given(z[0], prior.features(power).expand(4000, -1, -1))[1]
    mean, log_variance = transition or (torch.zeros_like(z[0]), torch.zeros_like(z[0]))
    log_p = torch.distributions.Normal(mean, (0.5 * log_variance).exp()).log_prob(z[0]).sum((1, 2))
    drawn = log_q[0].sum(-1) - log_p
    error = math.hypot(closed.std() / 4000**0.5, drawn.std() / 4000**0.5)
    assert (closed.mean() - drawn.mean()).abs() < 5 * error + 1e-9


@pytest.mark.parametrize(
    "kind",
    ["dkf"]
    + [
        pytest.param(kind, marks=pytest.mark.slow)
        for kind in ("dkf-driven", "storn", "vrnn", "srnn", "rvae", "rvae-noncausal", "latent-rnn")
    ],
)
def test_bound_of_a_sequence_against_brute_force(kind):
    """Three steps, one latent each: log p(x) by a sum over a grid of all trajectories.

    The ELBO must be log p(x) - KL(q || p(z | x)), the importance-weighted bound must approach log p(x).
    """
    prior, power = make(kind, latent_dim=1, spread=0.2), speech(1, 3) / 10
    with torch.no_grad():  # near p(z), where the untrained model's posterior is: else no weight would tell
        prior.direct.weight.mul_(0.1)
        prior.head.weight.mul_(0.1)
    points = torch.linspace(-9, 9, 73, dtype=torch.float64)
    grid = torch.cartesian_prod(points, points, points).unsqueeze(-1)  # (M, 3, 1)
    cell = math.log(float(points[1] - points[0])) * 3
    heard = prior.features(power).expand(len(grid), -1, -1)
    eta, transition = prior.given(grid, heard)
    log_z = torch.zeros(len(grid), dtype=torch.float64)
    log_x = torch.zeros(len(grid), dtype=torch.float64)
    for n in range(3):
        mean, log_variance = (0.0, torch.zeros(1)) if transition is None else (m[:, n, 0] for m in transition)
        std = torch.exp(0.5 * torch.as_tensor(log_variance))
        log_z += torch.distributions.Normal(mean, std).log_prob(grid[:, n, 0])
        for f in range(SIGNAL.stft.bins):
            log_x += -LOG_PI - eta[:, n, f] - (power[0, n, f] + POWER_FLOOR) * torch.exp(-eta[:, n, f])
    log_q = prior.encode(power).log_prob(grid.unsqueeze(0))[0].sum(-1)
    assert torch.logsumexp(log_z, 0).item() + cell == pytest.approx(0, abs=1e-3)
    assert torch.logsumexp(log_q, 0).item() + cell == pytest.approx(0, abs=1e-3)
    evidence = (torch.logsumexp(log_z + log_x, 0) + cell).item()
    bound = ((log_q + cell).exp() * (log_x + log_z - log_q)).sum().item()

    prior.requires_grad_(False)
    drawn = prior.reconstruct(power.expand(20000, -1, -1), torch.Generator().manual_seed(0))
    nll = prior.nll(power, drawn.log_variance).sum(-1)
    elbo = -nll - drawn.kl.sum((1, 2)) - 3 * SIGNAL.stft.bins * LOG_PI
    assert elbo.mean().item() == pytest.approx(bound, abs=5 * (elbo.std() / 20000**0.5).item() + 1e-6)
    weight = prior.log_weight(power, 20000, torch.Generator().manual_seed(1)).sum(-1)[0]
    importance = torch.logsumexp(weight, 0).item() - math.log(20000)
    assert bound < importance < evidence + 0.2
    assert importance == pytest.approx(evidence, abs=0.2)


def test_the_input_steers_the_driven_filter():
    """u_n moves p(z_n | ...), from that step on when drawn from it; it does not touch the spectrum given z."""
    prior = make("dkf-driven")
    z, drive = latents(prior), torch.zeros(1, FRAMES, 1, dtype=torch.float64)
    other = drive.clone()
    other[:, 3] = 1
    (eta, log_p), (other_eta, other_log_p) = (prior.driven_by(u).generate(z) for u in (drive, other))
    assert torch.equal(eta, other_eta)
    assert (log_p != other_log_p)[0, 0].tolist() == [n == 3 for n in range(FRAMES)]
    a, b = (prior.driven_by(u).sample(FRAMES, torch.Generator().manual_seed(0)) for u in (drive, other))
    assert moved(a, b).tolist() == [n >= 3 for n in range(FRAMES)]
    # Without an input there is speech in all frames.
    talking = prior.driven_by(torch.ones_like(drive))
    assert torch.equal(prior.log_prior(z), talking.log_prior(z))
    assert prior.drive is None


def test_activity_follows_the_level():
    prior = make("dkf-driven")
    levels_db = torch.tensor([-80.0, -25, 0], dtype=torch.float64)
    power = (10 ** (levels_db / 10)).unsqueeze(-1).expand(3, 33)
    activity = prior.activity(power)[:, 0]
    assert activity[0] < 0.01
    assert activity[1].item() == pytest.approx(0.5, abs=1e-6)
    assert activity[2] > 0.99
    heard = prior.features(power).unsqueeze(0)
    given, driven = prior.given(latents(prior, 1, 3)[0], heard), prior.driven_by(activity.view(1, 3, 1))
    unheard = driven.without_speech(latents(prior, 1, 3)[0], None)
    torch.testing.assert_close(given[1][0], unheard[1][0], rtol=1e-5, atol=1e-6)


def test_a_delayed_activity_does_not_see_the_frame_that_it_drives():
    prior, power = make("dkf-driven", lag=1), speech(1)
    z, features = latents(prior)[0], prior.features(speech(1))
    other = features.clone()
    other[:, 3] += 1
    told = moved(prior.given(z, features)[1][0], prior.given(z, other)[1][0])
    assert told.nonzero().flatten().tolist() == [4]
    assert not prior.activity(power)[:, 0].any()
    with pytest.raises(UsageError, match="lag = -1"):
        make("dkf-driven", lag=-1)


def test_what_is_not_a_size():
    from vae_se.errors import UsageError

    for settings in ({"latent_dim": 0}, {"hidden_size": 2.5}):
        with pytest.raises(UsageError, match="of a prior"):
            PRIORS["dkf"](**settings)
    with pytest.raises(UsageError, match="static"):
        PRIORS["dsae"](latent_dim=4, static=4)


def test_all_are_dynamical(prior):
    assert isinstance(prior, Dynamical)
    assert not prior.factorised


@pytest.mark.parametrize("name", ["latent-rnn", "dkf", "dsae"])
def test_generated_trajectories_do_not_run_away(name):
    """Without a bound, one of these draws is infinite after 207 (dsae) or 389 frames (latent-rnn)."""
    prior = load_prior(name)
    for seed in range(4):
        z = prior.sample(400, torch.Generator().manual_seed(seed))
        assert z.abs().max() < 10
        assert prior.decode(z).isfinite().all()
