"""``vae-se enhance --print-config``: the settings in effect as TOML, each with meaning, unit and range."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from ..config import Config, described, meaning
from ..config_values import toml_line

_WIDTH = 98


def annotated(config: Config) -> str:
    """The settings in effect, as a file for ``--config``.

    A setting that is left to the kernel or the noise model has the value that it takes there. One that they do
    not have is a comment. Raises UsageError for an unknown kernel or noise model.
    """
    from ..assemble import own_defaults

    lines = [
        "# Settings in effect, for vae-se enhance --config FILE. [estep] belongs to the kernel",
        f"# {config.estep.name}, [noise] to the model {config.noise.name}: for another, remove what it lacks.",
        "",
    ]
    own, section = own_defaults(config), ""
    for key, value in config.flat().items():
        *above, name = key.split(".")
        if above and above[0] != section:
            section = above[0]
            lines += [f"[{section}]", ""]
        words = described(key)
        lines += _comment(f"{meaning(key)} {words[0].upper()}{words[1:]}.")
        if value is None and section in ("estep", "noise") and key not in own:
            lines.append(f"# {name}: {getattr(config, section).name} does not have it")
        else:
            lines.append(toml_line(name, own.get(key) if value is None else value))
        lines.append("")
    return "\n".join(lines)


def _comment(text: str) -> Iterator[str]:
    return (f"# {line}" for line in textwrap.wrap(text, _WIDTH, break_on_hyphens=False))
