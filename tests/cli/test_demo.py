"""``vae-se demo``: its options, and what is said before the page is served."""

from __future__ import annotations

import socket
from collections.abc import Callable

from vae_se.cli.demo import _is_loopback


def test_what_is_wrong_is_said_before_the_page_is_served(cli: Callable) -> None:
    assert "--max-upload" in cli("demo", "--help").out
    ran = cli("demo", "--prior", "defualt")
    assert ran.code == 2
    assert "did you mean default?" in ran.err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = cli("demo", "--port", taken.getsockname()[1])
    assert ran.code == 2
    assert "cannot listen on 127.0.0.1" in ran.err
    assert cli("demo", "--max-upload", 0).code == 2


def test_addresses_of_this_computer_alone() -> None:
    assert all(_is_loopback(host) for host in ("127.0.0.1", "::1", "localhost"))
    assert not any(_is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.3", "studio"))
