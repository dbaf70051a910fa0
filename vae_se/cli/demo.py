"""``vae-se demo``: a page in the browser that enhances a recording on this computer."""

from __future__ import annotations

import ipaddress

import click

from .common import say


@click.command(short_help="Enhance recordings on a page in the browser.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8437, show_default=True, help="Port; 0: a free one."
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address to listen on; 0.0.0.0 lets others on the network in.",
)
@click.option(
    "--allow-host",
    multiple=True,
    metavar="NAME",
    help="A name of this computer under which the page may be opened, beside localhost; may be repeated.",
)
@click.option(
    "--max-upload",
    type=click.FloatRange(min=0, min_open=True, max=1e6),
    default=200.0,
    show_default=True,
    metavar="MB",
    help="Largest file in megabytes.",
)
@click.option("--prior", metavar="NAME|DIR", help="The speech prior (vae-se prior list).")
@click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]", help="Compute device."
)
@click.option("--open", "open_browser", is_flag=True, help="Open the page in the browser.")
def demo(
    port: int,
    host: str,
    allow_host: tuple[str, ...],
    max_upload: float,
    prior: str | None,
    device: str,
    open_browser: bool,
) -> int:
    """Enhance recordings on a page in the browser: hear and see before and after.

    The page is served by this computer, to this computer alone unless --host says otherwise. Recordings go to a
    temporary folder, which is removed at the end. Ctrl-C ends the command.
    """
    from ..config import Config
    from ..demo.jobs import Jobs
    from ..demo.server import DemoServer
    from ..enhancement.enhancer import Enhancer

    def enhancer(config: Config) -> Enhancer:
        return Enhancer.from_pretrained(prior, config=config, device=device)

    enhancer(Config())  # a wrong name is reported now, and not by the page
    with (
        Jobs(enhancer, say) as jobs,
        DemoServer(
            jobs, host, port, max_upload=int(max_upload * 1e6), host_names=allow_host, log=say
        ) as server,
    ):
        say(f"vae-se demo: {server.url} (Ctrl-C ends it)")
        if not _is_loopback(host):
            say("warning: others on the network can reach the page; there is no password")
        if open_browser:
            import webbrowser

            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("stopped")
    return 0


def _is_loopback(host: str) -> bool:
    """Whether only this computer can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
