"""The gain that is learnt from the filters of the noisy encoder and of EM."""

import dataclasses
import math

import pytest
import torch

from tests.unit.test_noise_aware import loop, network, powers, streams_for
from vae_se.assemble import build_em
from vae_se.config import Config
from vae_se.errors import UsageError
from vae_se.inference.learnt_gain import LearntGain, corrected
from vae_se.priors import load_prior


def filters(seed=0, shape=(2, 5, 33)):
    random = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=random), torch.rand(shape, generator=random)


def small():
    random = torch.Generator().manual_seed(3)
    sizes = [(3, 4), (3, 3), (1, 3)]
    return LearntGain([(torch.randn(s, generator=random), torch.randn(s[0], generator=random)) for s in sizes])


def test_a_slow_loop_gives_the_same():
    gain, (own, em) = small(), filters()
    found = gain.log_odds(own, em)
    for b, n, f in ((0, 0, 0), (0, 4, 32), (1, 2, 17)):
        first, second = (math.log(float(m[b, n, f]) / (1 - float(m[b, n, f]))) for m in (own, em))
        values = [first / 4, second / 4, (first - second) / 4, -1 + 2 * f / 32]
        for number, (weight, bias) in enumerate(gain.layers):
            if number:
                values = [max(v, 0.0) for v in values]
            values = [
                sum(float(w) * v for w, v in zip(row, values, strict=True)) + float(c)
                for row, c in zip(weight, bias, strict=True)
            ]
        assert float(found[b, n, f]) == pytest.approx((first + second) / 2 + values[0], rel=1e-4, abs=1e-4)


def test_no_filter_gives_a_number_that_is_not_finite():
    extreme = torch.tensor([0.0, 1e-30, 0.5, 1 - 1e-7, 1.0]).repeat(1, 3, 1)
    found = torch.sigmoid(LearntGain.fitted().log_odds(extreme, extreme.flip(-1)))
    assert found.isfinite().all()
    assert found.min() >= 0
    assert found.max() <= 1


def test_the_weight_moves_in_log_odds():
    gain, (own, em) = small(), filters()
    pooled = (own + em) / 2
    torch.testing.assert_close(corrected(pooled, own, em, 0.0, gain), pooled)
    torch.testing.assert_close(corrected(pooled, own, em, 1.0, gain), torch.sigmoid(gain.log_odds(own, em)))
    half = torch.logit(corrected(pooled, own, em, 0.5, gain))
    torch.testing.assert_close(half, (torch.logit(pooled) + gain.log_odds(own, em)) / 2, rtol=1e-4, atol=1e-4)


def test_the_shipped_one_agrees_with_filters_that_agree():
    """It keeps a bin that both keep, removes one that both remove, and follows either when the other stays."""
    gain = LearntGain.fitted()
    level = torch.logit(torch.tensor([1e-3, 0.03, 0.3, 0.9, 0.995]))
    own, em = (torch.sigmoid(v).repeat_interleave(513).reshape(1, 5, 513) for v in (level, level))
    odds = gain.log_odds(own, em).mean(-1)[0]
    assert (odds.diff() > 0).all()
    assert odds[0] < math.log(0.01)
    assert odds[-1] > math.log(20)
    for varied in ((own, em[:, 2:3].expand_as(em)), (own[:, 2:3].expand_as(own), em)):
        assert (gain.log_odds(*varied).mean(-1)[0].diff() > 0).all()


def test_em_uses_it_where_the_noisy_encoder_has_a_part():
    power, mask = powers(), torch.ones(2, 9).double()
    em = loop(network(), **{"inference.learnt_weight": 0.0})

    def wiener(**changes):
        return dataclasses.replace(em, **changes).run(power, mask, streams_for([9, 9]))

    plain, moved = wiener(), wiener(learnt_weight=0.7)
    assert not torch.equal(plain.wiener, moved.wiener)
    alone = wiener(encoder_weight=0.0), wiener(encoder_weight=0.0, learnt_weight=0.7)
    assert torch.equal(alone[0].wiener, alone[1].wiener)


def test_its_weight_is_a_setting():
    em = build_em(Config().override({"inference.learnt_weight": 0.25}), load_prior("default", "cpu"))
    assert em.learnt_weight == 0.25
    with pytest.raises(UsageError, match="learnt_weight"):
        dataclasses.replace(em, learnt_weight=1.5)
