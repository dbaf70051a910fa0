"""DNSMOS P.835, which needs weights that this package has no licence to ship."""

from __future__ import annotations

from .base import CannotScore, Pair, metric


@metric(
    "dnsmos",
    "MOS 1..5",
    "C. K. A. Reddy, V. Gopal, R. Cutler, DNSMOS P.835, ICASSP 2022",
    package="onnxruntime",
)
def dnsmos(pair: Pair) -> float:
    """Always a reason, never a value: the ONNX weights are Microsoft's and not part of this package."""
    raise CannotScore(
        "DNSMOS needs the weights sig_bak_ovr.onnx of the DNS-Challenge, which are not shipped; "
        "score the written files with Microsoft's dnsmos_local.py"
    )
