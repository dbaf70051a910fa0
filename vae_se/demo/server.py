"""The HTTP server of the page, on the standard library.

What a request may name is fixed: the files of the page, and the files of a job, found by the job's random id, a
channel number and a word. No path, and no file name, is ever taken from a request.

    GET    /  /demo.css  /demo.js  /recorder.js  /example.wav
    GET    /api/options
    POST   /api/jobs?preset=NAME&noise=NAME&atten_lim_db=DB     the bytes of an audio file -> 202, the job
    GET    /api/jobs/ID                                         state, progress, result
    DELETE /api/jobs/ID                                         stop it, remove its files
    GET    /api/jobs/ID/enhanced                                WAV
    GET    /api/jobs/ID/listen/CHANNEL                          WAV: before on the left, after on the right
    GET    /api/jobs/ID/picture/CHANNEL/KIND                    bytes of vae_se.demo.pictures
"""

from __future__ import annotations

import json
import re
import socket
import sys
import time
import traceback
from collections.abc import Callable, Collection
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from .. import __version__
from ..config import PRESETS, Config
from ..errors import UsageError, VaeSeError
from .guard import is_own_host, is_own_page
from .jobs import Busy, Job, Jobs
from .process import ENHANCED, KINDS, UPLOAD, check, listen_name, picture_name

STATIC = Path(__file__).resolve().parent / "static"

#: Files of the page: path in the URL, file, content type.
ASSETS = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/demo.css": ("demo.css", "text/css; charset=utf-8"),
    "/demo.js": ("demo.js", "text/javascript; charset=utf-8"),
    "/recorder.js": ("recorder.js", "text/javascript; charset=utf-8"),
    "/example.wav": ("example.wav", "audio/wav"),
}

#: Noise models that the page offers. A noise dictionary needs a file, so that it is not among them.
NOISE_MODELS = {
    "nmf": "any noise",
    "stationary": "steady noise, such as a fan or hum",
    "impulsive": "clicks and knocks",
    "student-t": "noise with outliers",
}

PRESET_WORDS = {"fast": "fast, half the time"}

#: Attenuation limits in dB that the page offers, beside none.
ATTENUATION_LIMITS = (30, 20, 15, 12, 9, 6)

_JOB = re.compile(r"/api/jobs/(?P<id>[0-9a-f]{32})(?P<rest>(?:/[a-z0-9]+)*)")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_CHUNK = 1 << 16

_SAFETY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Refused(VaeSeError):
    """A request that is answered with an error status."""

    def __init__(self, status: HTTPStatus, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.status = status


class DemoServer(ThreadingHTTPServer):
    """Serves the page and its jobs. ``port`` 0 takes a free one, see ``server_port``.

    ``max_upload``: bytes. ``host_names``: names, beside ``localhost`` and IP addresses, under which the page
    may be opened. ``log`` is called with a line per event. Raises UsageError where the address cannot be used.
    """

    daemon_threads = True

    def __init__(
        self,
        jobs: Jobs,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        max_upload: int = 200_000_000,
        host_names: Collection[str] = (),
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.jobs, self.max_upload, self.log = jobs, max_upload, log
        self.host_names = frozenset({host, *host_names})
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), DemoHandler)
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise UsageError(f"cannot listen on {host} port {port}: {reason}", "give another --port") from None

    @property
    def url(self) -> str:
        """Address of the page."""
        host = str(self.server_address[0])
        return f"http://{f'[{host}]' if ':' in host else host}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what is unexpected; a browser that closes a connection early is not."""
        if not isinstance(sys.exception(), OSError):
            self.log(traceback.format_exc())


class DemoHandler(BaseHTTPRequestHandler):
    """Answers the requests listed at the top of the module."""

    server: DemoServer
    protocol_version = "HTTP/1.1"
    server_version = f"vae-se/{__version__}"
    sys_version = ""
    timeout = 60  # seconds without a byte

    def do_GET(self) -> None:
        """A file of the page, the options, or something of a job."""
        self._answer(self._get)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """A new job."""
        self._answer(self._post)

    def do_DELETE(self) -> None:
        """Remove a job."""
        self._answer(self._delete)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: the page polls."""

    def _answer(self, method: Callable[[str], None]) -> None:
        """Check who asks, then answer; errors become a JSON object."""
        parts = urlsplit(self.path)
        try:
            if not is_own_host(self.headers.get("Host"), self.server.host_names):
                raise Refused(
                    HTTPStatus.MISDIRECTED_REQUEST, "this server is not known under that name",
                    "open it as localhost or by its IP address, or start it with --allow-host NAME",
                )  # fmt: skip
            if parts.path.startswith("/api/") and not is_own_page(dict(self.headers)):
                raise Refused(HTTPStatus.FORBIDDEN, "the request comes from another page")
            method(parts.path)
        except Refused as error:
            self._refuse(error.status, error)
        except Busy as error:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, error)
        except VaeSeError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, error)

    def _refuse(self, status: HTTPStatus, error: VaeSeError) -> None:
        if self.command == "POST":
            self.close_connection = True
        self._json({"error": error.message, "hint": error.hint}, status)
        if self.command == "POST":
            self._drain()

    def _drain(self) -> None:
        """Read the rest of a refused upload for a second, so that the browser receives the answer."""
        self.connection.settimeout(0.2)
        until = time.monotonic() + 1.0
        try:
            while time.monotonic() < until and self.rfile.read1(_CHUNK):
                pass
        except OSError:
            pass

    def _get(self, path: str) -> None:
        if path in ASSETS:
            name, kind = ASSETS[path]
            file = example() if path == "/example.wav" else STATIC / name
            if file is None:
                raise Refused(HTTPStatus.NOT_FOUND, "this installation has no example")
            self._file(file, kind)
        elif path == "/api/options":
            self._json(options(self.server.max_upload))
        else:
            job, rest = self._job(path)
            if not rest:
                self._json(self.server.jobs.row(job))
            else:
                self._file_of(job, rest)

    def _file_of(self, job: Job, rest: list[str]) -> None:
        """A file of a job that is done."""
        if job.result is None:
            raise Refused(HTTPStatus.CONFLICT, "the recording is not enhanced yet")
        match rest:
            case ["enhanced"]:
                name = ENHANCED
            case ["listen", channel] if _below(channel, job.result.channels):
                name = listen_name(int(channel))
            case ["picture", channel, kind] if _below(channel, job.result.channels) and kind in KINDS:
                name = picture_name(int(channel), kind)
            case _:
                raise Refused(HTTPStatus.NOT_FOUND, "there is no such file")
        self._file(job.folder / name, "audio/wav" if name.endswith(".wav") else "application/octet-stream")

    def _post(self, path: str) -> None:
        if path != "/api/jobs":
            raise Refused(HTTPStatus.NOT_FOUND, "there is no such address")
        # A page of another origin cannot send this type without asking first, and is not answered.
        if self.headers.get("Content-Type") != "application/octet-stream":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected application/octet-stream")
        length = self._length()
        job = self.server.jobs.reserve(config_of(urlsplit(self.path).query))
        try:
            self._receive(job.folder / UPLOAD, length)
            check(job.folder / UPLOAD)
        except BaseException:
            self.server.jobs.remove(job)
            raise
        self.server.jobs.submit(job)
        self.server.log(f"recording of {length / 1e6:.1f} MB")
        self._json(self.server.jobs.row(job), HTTPStatus.ACCEPTED)

    def _length(self) -> int:
        """Bytes of the upload. Raises Refused where the header is missing, or the upload is too large."""
        text = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"\d{1,15}", text):
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "the request has no length")
        if int(text) > self.server.max_upload:
            raise Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the file is larger than {self.server.max_upload / 1e6:g} MB",
                "start vae-se demo with a larger --max-upload, or use vae-se enhance",
            )
        return int(text)

    def _receive(self, target: Path, length: int) -> None:
        with target.open("xb") as file:
            while length:
                block = self.rfile.read(min(length, _CHUNK))
                if not block:
                    raise Refused(HTTPStatus.BAD_REQUEST, "the upload is cut off")
                file.write(block)
                length -= len(block)

    def _delete(self, path: str) -> None:
        job, rest = self._job(path)
        if rest:
            raise Refused(HTTPStatus.NOT_FOUND, "there is no such address")
        self.server.jobs.remove(job)
        self._json({})

    def _job(self, path: str) -> tuple[Job, list[str]]:
        """The job in an address, and the words after it. Raises Refused where there is none."""
        match = _JOB.fullmatch(path)
        job = self.server.jobs.find(match["id"]) if match else None
        if match is None or job is None:
            raise Refused(HTTPStatus.NOT_FOUND, "there is no such recording any more", "send it again")
        return job, match["rest"].split("/")[1:]

    def _json(self, value: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        body = json.dumps(value, allow_nan=False).encode()
        self._head(status, "application/json", len(body))
        if self.command != "HEAD":
            self.wfile.write(body)

    def _file(self, path: Path, kind: str) -> None:
        """A file, or the range of it that a player asks for."""
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise Refused(HTTPStatus.NOT_FOUND, "there is no such file") from None
        with file:
            size = path.stat().st_size
            first, last = 0, size - 1
            part = _RANGE.fullmatch(self.headers.get("Range", ""))
            if part and int(part[1]) <= min(last, int(part[2] or last)):
                first, last = int(part[1]), min(last, int(part[2] or last))
                extra = {"Content-Range": f"bytes {first}-{last}/{size}"}
                self._head(HTTPStatus.PARTIAL_CONTENT, kind, last - first + 1, extra)
            else:
                self._head(HTTPStatus.OK, kind, size)
            if self.command == "HEAD":
                return
            file.seek(first)
            left = last - first + 1
            while left > 0 and (block := file.read(min(left, _CHUNK))):
                self.wfile.write(block)
                left -= len(block)

    def _head(self, status: HTTPStatus, kind: str, length: int, extra: dict[str, str] | None = None) -> None:
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": str(length), "Accept-Ranges": "bytes"}
        for name, value in (headers | _SAFETY | (extra or {})).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()


def options(max_upload: int) -> dict[str, Any]:
    """What the page offers, JSON-able."""
    return {
        "version": __version__,
        "presets": {name: PRESET_WORDS.get(name, name) for name in PRESETS},
        "noise": NOISE_MODELS,
        "atten_lim_db": ATTENUATION_LIMITS,
        "max_upload": max_upload,
        "example": example() is not None,
    }


def example() -> Path | None:
    """The example recording: inside the installed package, or in a checkout."""
    checkout = STATIC.parents[2] / "examples" / "noisy.wav"
    return next((path for path in (STATIC / "example.wav", checkout) if path.is_file()), None)


def config_of(query: str) -> Config:
    """The settings in the query of an address. Raises UsageError for a setting or value that is not offered."""
    values = dict(parse_qsl(query, keep_blank_values=True))
    config = Config.preset(values.pop("preset", "default"))
    noise = values.pop("noise", "nmf")
    if noise not in NOISE_MODELS:
        raise UsageError(f"unknown noise model {noise!r}", "known: " + ", ".join(NOISE_MODELS))
    settings: dict[str, Any] = {"noise.name": noise}
    limit = values.pop("atten_lim_db", "")
    if limit:
        try:
            settings["output.atten_lim_db"] = float(limit)
        except ValueError:
            raise UsageError(f"an attenuation limit of {limit!r}", "give a number of dB") from None
    if values:
        raise UsageError(f"unknown setting {next(iter(values))!r}", "known: preset, noise, atten_lim_db")
    return config.override(settings)


def _below(text: str, count: int) -> bool:
    """Whether ``text`` is a whole number below ``count``."""
    return text.isdecimal() and len(text) < 4 and int(text) < count
