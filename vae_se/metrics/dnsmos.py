"""DNSMOS P.835: registered without a value, because the licence of its weights does not allow shipping them."""

from __future__ import annotations

from .base import CannotScore, Pair, metric


@metric(
    "dnsmos",
    "MOS 1..5",
    "C. K. A. Reddy, V. Gopal, R. Cutler, DNSMOS P.835, ICASSP 2022",
    package="onnxruntime",
)
def dnsmos(pair: Pair) -> float:
    """Raises CannotScore always: Microsoft's ONNX weights are not part of this package."""
    raise CannotScore(
        "DNSMOS needs the weights sig_bak_ovr.onnx of the DNS-Challenge, which are not shipped; "
        "score the written files with Microsoft's dnsmos_local.py"
    )
