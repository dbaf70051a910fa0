"""Bands of the convolutional noisy encoder; what both networks have in common is in test_noisy_encoder.py."""

import pytest
import torch

from vae_se.errors import UsageError
from vae_se.noisy_encoder.convolutional import band_matrix


@pytest.mark.parametrize(("bins", "narrow", "wide"), [(513, 128, 64), (33, 16, 8), (65, 32, 8)])
def test_bands_average_every_bin_once(bins, narrow, wide):
    bands = band_matrix(bins, narrow, wide)
    assert bands.shape == (narrow + wide, bins)
    torch.testing.assert_close(bands.sum(1), torch.ones(narrow + wide))
    assert ((bands > 0).sum(0) == 1).all()
    widths = (bands > 0).sum(1)
    assert (widths[:narrow] == 1).all()
    assert widths[-1] >= widths[narrow]
    with pytest.raises(UsageError, match="bands"):
        band_matrix(bins, narrow, bins)
