"""The settings that made an output, as a comment in the file.

It travels with the file, and needs no other file beside the outputs. Players show it as the comment. W64, AU,
NIST and headerless files have no tags: nothing is known about the settings of such an output.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import soundfile

from .formats import is_media_name
from .media import read_comment

# Longer than 30 characters: libsndfile does not read back a shorter comment of an MP3.
_COMMENT = "enhanced by vae-se with settings {}"
_PATTERN = re.compile(_COMMENT.format("([0-9a-f]{12})"))


def digest(settings: Mapping[str, object]) -> str:
    """Twelve hexadecimal digits that differ where the settings do.

    >>> digest({"preset": "fast", "seed": 0}) == digest({"seed": 0, "preset": "fast"})
    True
    """
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def comment(settings_digest: str) -> str:
    """The comment of an output that was made with the settings of this digest."""
    return _COMMENT.format(settings_digest)


def settings_digest_of(path: Path) -> str | None:
    """The digest of the settings that made an output; None where the file has no such comment."""
    if is_media_name(path):
        text = read_comment(path)
    else:
        try:
            with soundfile.SoundFile(os.fspath(path)) as file:
                text = file.comment
        except (soundfile.LibsndfileError, TypeError, OSError):
            return None
    found = _PATTERN.search(text)
    return None if found is None else found[1]
