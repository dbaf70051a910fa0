"""Every tensor is made on the device of the data."""

import numpy as np
import pytest
import torch

from tests.conftest import noisy_like, speech_like
from vae_se.device import mixed_precision
from vae_se.enhancement.enhancer import Enhancer
from vae_se.inference.estep import ESTEPS
from vae_se.noise import NOISES

QUICK = {
    "inference__iterations": 2,
    "inference__averaging": 4,
    "inference__segment": 0.6,
    "inference__overlap": 0.1,
}


def enhance_with_another_default(**settings):
    """Enhance on the CPU while tensors of no stated device are made on "meta", which holds no data.

    What `--device cuda` would find on the wrong device meets a tensor of another device here, too.
    """
    enhancer = Enhancer.from_pretrained(device="cpu", **QUICK, **settings)
    with torch.device("meta"):
        return enhancer.enhance(noisy_like(0.9), 16000, return_info=True)


def test_the_trick_sees_a_tensor_on_the_wrong_device():
    data = torch.rand(3)
    with torch.device("meta"), pytest.raises((RuntimeError, NotImplementedError)):
        (data + torch.zeros(3)).tolist()


@pytest.mark.parametrize("estep", list(ESTEPS))
def test_every_estep_keeps_to_the_device(estep):
    speech, info = enhance_with_another_default(estep__name=estep)
    assert np.isfinite(speech).all()
    assert {t.device.type for t in (info.uncertainty[0], info.gain[0])} == {"cpu"}


@pytest.mark.parametrize("noise", list(NOISES))
def test_every_noise_model_keeps_to_the_device(noise):
    settings = {"noise__name": noise}
    if noise == "dictionary":
        settings["noise__noise_segment"] = "0-0.5"
    assert np.isfinite(enhance_with_another_default(**settings)[0]).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_enhances_as_the_cpu_does():
    """Random numbers differ from device to device, so results agree as those of two seeds do."""
    clean, noisy = speech_like(4.0), noisy_like(4.0)
    results = [Enhancer.from_pretrained(device=device).enhance(noisy, 16000) for device in ("cpu", "cuda")]
    assert np.corrcoef(*results)[0, 1] > 0.98
    gains = [np.corrcoef(clean, result)[0, 1] for result in results]
    assert abs(gains[0] - gains[1]) < 0.01


def test_mixed_precision_is_for_gpus_and_leaves_no_trace():
    before = torch.get_float32_matmul_precision()
    for kind, inside in (("cuda", "high"), ("cpu", before)):
        with mixed_precision(torch.device(kind)):
            assert torch.get_float32_matmul_precision() == inside
        assert torch.get_float32_matmul_precision() == before
    with pytest.raises(RuntimeError, match="in the middle"), mixed_precision(torch.device("cuda")):
        raise RuntimeError("in the middle")
    assert torch.get_float32_matmul_precision() == before
