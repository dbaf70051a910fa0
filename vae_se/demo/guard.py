"""Which requests a server on the own machine may answer: those of its own page, under its own name.

Any web page that is open in the browser can send requests to 127.0.0.1. A page of another origin is recognised
by the headers ``Origin`` and ``Sec-Fetch-Site``. By DNS rebinding, a hostile page lets its own host name
resolve to 127.0.0.1, so that the browser takes the server for a part of that page. Such a request carries the
hostile name in the header ``Host``; a name that is an IP address cannot be rebound.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit


def host_name(host: str) -> str | None:
    """The name or address in a header ``Host``, in lower case, without port and brackets; None if it is
    invalid.

    >>> host_name("LOCALHOST:8437"), host_name("[::1]:8437"), host_name("user@localhost")
    ('localhost', '::1', None)
    """
    try:
        parts = urlsplit(f"//{host}")
        valid = parts.netloc == host and parts.username is None and parts.password is None
        _ = parts.port  # raises ValueError where the port is no number
    except ValueError:
        return None
    return parts.hostname if valid else None


def is_own_host(host: str | None, names: Collection[str] = ()) -> bool:
    """Whether a header ``Host`` is an IP address, ``localhost``, or one of ``names``.

    >>> is_own_host("127.0.0.1:8437"), is_own_host("localhost"), is_own_host("rebound.example:8437")
    (True, True, False)
    """
    name = host_name(host) if host else None
    if name is None:
        return False
    if name == "localhost" or name in {known.lower() for known in names}:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_own_page(headers: Mapping[str, str]) -> bool:
    """Whether a request comes from the server's own page, or from no page (a program, the address bar)."""
    if headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        return False
    origin = headers.get("Origin")
    return origin is None or urlsplit(origin).netloc.lower() == headers.get("Host", "").lower()
