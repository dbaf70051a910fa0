"""``vae-se demo`` over HTTP: the page, uploads, results, limits, and who may ask."""

from __future__ import annotations

import http.client
import io
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch

from tests.conftest import noisy_like
from vae_se.config import Config
from vae_se.demo import jobs as jobs_module
from vae_se.demo import process as process_module
from vae_se.demo.guard import host_name, is_own_host, is_own_page
from vae_se.demo.jobs import Jobs
from vae_se.demo.pictures import MAX_COLUMNS, Columns, Spectrogram, as_bytes
from vae_se.demo.server import ASSETS, NOISE_MODELS, STATIC, DemoServer
from vae_se.enhancement.enhancer import Enhancer
from vae_se.errors import UsageError
from vae_se.noise import NOISES
from vae_se.signal_spec import SignalSpec

BINARY = {"Content-Type": "application/octet-stream"}
MAX_UPLOAD = 400_000


class Site:
    """A server, and requests to it."""

    def __init__(self, server: DemoServer) -> None:
        self.server = server

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes, Any]:
        """Status, body and headers of the answer. In names of headers, _ stands for -."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=60)
        try:
            connection.request(method, path, body, {key.replace("_", "-"): v for key, v in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers
        finally:
            connection.close()

    def json(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, Any]]:
        status, answer, _ = self.ask(method, path, body, **headers)
        return status, json.loads(answer)

    def send(self, body: bytes, query: str = "") -> tuple[int, dict[str, Any]]:
        return self.json("POST", f"/api/jobs?{query}", body, Content_Type="application/octet-stream")

    def wait(self, job: dict[str, Any]) -> dict[str, Any]:
        end = time.monotonic() + 120
        while job["status"] in ("waiting", "running"):
            assert time.monotonic() < end
            time.sleep(0.02)
            job = self.json("GET", f"/api/jobs/{job['id']}")[1]
        return job


@pytest.fixture(scope="module")
def site(tiny_prior: Path) -> Iterator[Site]:
    def enhancer(config: Config) -> Enhancer:
        few = {"inference.iterations": 2, "inference.averaging": 1, "prior": str(tiny_prior)}
        return Enhancer.from_pretrained(config=config.override(few), device="cpu")

    with (
        Jobs(enhancer) as jobs,
        DemoServer(jobs, max_upload=MAX_UPLOAD, host_names=["studio.example"]) as server,
    ):
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield Site(server)
        server.shutdown()
        thread.join()


def file_of(samples: np.ndarray, rate: int = 16000, kind: str = "WAV", subtype: str = "PCM_16") -> bytes:
    stream = io.BytesIO()
    sf.write(stream, np.asarray(samples).T, rate, format=kind, subtype=subtype)
    return stream.getvalue()


@pytest.fixture(scope="module")
def stereo() -> np.ndarray:
    """(2, T), the second channel silent."""
    noisy = noisy_like(0.7, 22050)
    return np.stack([noisy, np.zeros_like(noisy)])


@pytest.fixture(scope="module")
def done(site: Site, stereo: np.ndarray) -> dict[str, Any]:
    status, job = site.send(file_of(stereo, 22050), "preset=fast&noise=nmf&atten_lim_db=12")
    assert status == 202
    return site.wait(job)


def test_the_page_comes_with_its_files_and_nothing_from_elsewhere(site: Site) -> None:
    for path, (name, kind) in ASSETS.items():
        status, body, headers = site.ask("GET", path)
        assert (status, headers["Content-Type"]) == (200, kind)
        if path != "/example.wav":
            assert body == (STATIC / name).read_bytes()
            assert b"://" not in body  # works without a network
            assert "default-src 'none'" in headers["Content-Security-Policy"]
    options = site.json("GET", "/api/options")[1]
    assert set(options["noise"]) == set(NOISE_MODELS) <= set(NOISES)
    assert options["max_upload"] == MAX_UPLOAD
    assert site.ask("HEAD", "/")[1] == b""


def test_a_recording_is_enhanced_shown_and_offered(
    site: Site, done: dict[str, Any], stereo: np.ndarray
) -> None:
    assert done["status"] == "done", done
    result = done["result"]
    assert (result["channels"], result["rate"]) == (2, 22050)
    assert result["seconds"] == pytest.approx(0.7, abs=1e-3)
    assert "channel 2 is silent: copied" in result["warnings"]
    assert result["posterior"] == [True, False]
    base = f"/api/jobs/{done['id']}"

    _, body, headers = site.ask("GET", f"{base}/enhanced")
    assert headers["Content-Type"] == "audio/wav"
    enhanced, rate = sf.read(io.BytesIO(body), always_2d=True)
    assert (enhanced.T.shape, rate) == (stereo.shape, 22050)

    # What is heard: the recording on the left, the output on the right, of the channel that is asked for.
    pair, _ = sf.read(io.BytesIO(site.ask("GET", f"{base}/listen/0")[1]))
    np.testing.assert_allclose(pair[:, 0], stereo[0], atol=1e-4)
    np.testing.assert_allclose(pair[:, 1], enhanced[:, 0], atol=1e-6)
    assert np.abs(sf.read(io.BytesIO(site.ask("GET", f"{base}/listen/1")[1]))[0]).max() == 0

    for kind in result["kinds"]:
        status, picture, _ = site.ask("GET", f"{base}/picture/0/{kind}")
        assert (status, len(picture)) == (200, result["columns"] * result["bins"])
        assert max(picture) > 100
    assert max(site.ask("GET", f"{base}/picture/0/noisy")[1]) == 255
    assert site.ask("GET", f"{base}/picture/1/noise")[0] == 404


def test_a_player_may_ask_for_a_range(site: Site, done: dict[str, Any]) -> None:
    path = f"/api/jobs/{done['id']}/listen/0"
    whole = site.ask("GET", path)[1]
    status, part, headers = site.ask("GET", path, Range="bytes=100-199")
    assert (status, part) == (206, whole[100:200])
    assert headers["Content-Range"] == f"bytes 100-199/{len(whole)}"
    assert site.ask("GET", path, Range="bytes=100-")[1] == whole[100:]
    for nonsense in ("bytes=9-8", f"bytes={len(whole)}-", "bytes=-5", "lines=1-2"):
        assert site.ask("GET", path, Range=nonsense)[:2] == (200, whole)


def test_coded_audio_comes_back_as_a_wav_of_the_same_length(site: Site) -> None:
    body = file_of(noisy_like(0.5), 16000, "OGG", "VORBIS")
    frames = sf.info(io.BytesIO(body)).frames
    job = site.wait(site.send(body)[1])
    assert job["status"] == "done", job
    found = sf.info(io.BytesIO(site.ask("GET", f"/api/jobs/{job['id']}/enhanced")[1]))
    assert (found.format, found.subtype, found.frames) == ("WAV", "PCM_24", frames)


def test_a_long_recording_is_enhanced_in_blocks(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "is_long", lambda *_, **__: True)
    job = site.wait(site.send(file_of(noisy_like(0.5)))[1])
    assert job["status"] == "done", job
    assert job["result"]["posterior"] == [False]
    assert "without estimated noise and uncertainty" in job["result"]["warnings"][-1]


def test_bad_uploads_are_told_in_a_sentence(site: Site) -> None:
    status, answer = site.send(b"this is no audio")
    assert status == 400
    assert "is not audio" in answer["error"]
    status, answer = site.send(bytes(MAX_UPLOAD + 1))
    assert status == 413
    assert "larger than 0.4 MB" in answer["error"]
    job = site.wait(site.send(file_of(np.full(100, np.nan), subtype="FLOAT"))[1])
    assert job["status"] == "failed"
    assert "NaN" in job["error"]
    assert site.send(b"", "preset=bets")[0] == 400
    assert site.send(b"", "noise=dictionary")[1]["error"] == "unknown noise model 'dictionary'"
    assert site.send(b"", "noise.file=/etc/passwd")[0] == 400
    assert site.send(b"", "atten_lim_db=-3")[0] == 400
    assert site.ask("POST", "/api/jobs", b"x", Content_Type="text/plain")[0] == 415


def test_no_path_of_a_request_leads_to_a_file(site: Site, done: dict[str, Any]) -> None:
    base = f"/api/jobs/{done['id']}"
    for path in (
        "/server.py", "/../server.py", "/static/demo.js", "/%2e%2e/server.py", "//etc/passwd", "/demo.js/..",
        "/api/jobs/..", "/api/jobs/" + "0" * 32, f"{base}/upload", f"{base}/../{done['id']}/enhanced",
        f"{base}/listen/2", f"{base}/listen/-1", f"{base}/listen/0/noisy", f"{base}/picture/0/upload",
        f"{base}/picture/0/..%2fupload", f"{base}/enhanced.wav", f"{base}/listen/0x0",
    ):  # fmt: skip
        assert site.ask("GET", path)[0] == 404, path


def test_only_its_own_page_under_its_own_name_is_answered(site: Site) -> None:
    port = site.server.server_port
    for host in ("rebound.example", f"rebound.example:{port}", "127.0.0.1.rebound.example", "localhost@x", ""):
        for method, path in (("GET", "/"), ("GET", "/api/options"), ("POST", "/api/jobs")):
            assert site.ask(method, path, Host=host)[0] == 421, host
    for host in (f"localhost:{port}", "127.0.0.1", "[::1]:80", "studio.example"):
        assert site.ask("GET", "/", Host=host)[0] == 200, host
        assert site.ask("GET", "/api/options", Host=host, Origin=f"http://{host}")[0] == 200
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}):
        assert site.ask("GET", "/api/options", **headers)[0] == 403
        assert site.ask("POST", "/api/jobs", b"x", Content_Type="application/octet-stream", **headers)[0] == 403
    # A page of another origin may not even ask what it may do, and a link from elsewhere opens the page.
    assert site.ask("OPTIONS", "/api/jobs", Origin="http://evil.example")[0] == 501
    assert site.ask("GET", "/", Sec_Fetch_Site="cross-site")[0] == 200


def test_names_of_hosts() -> None:
    assert host_name("A.example:80") == "a.example"
    assert host_name("a:b") is None
    assert not is_own_host(None)
    assert is_own_host("Studio", ["studio"])
    assert is_own_page({})
    assert not is_own_page({"Host": "localhost:1", "Origin": "http://localhost:2"})


def test_a_removed_recording_stops_and_its_files_go(site: Site, tiny_prior: Path) -> None:
    started, go_on = threading.Event(), threading.Event()

    def held(config: Config) -> Enhancer:
        started.set()
        assert go_on.wait(60)
        few = {"inference.iterations": 2, "prior": str(tiny_prior)}
        return Enhancer.from_pretrained(config=config.override(few), device="cpu")

    body = file_of(noisy_like(0.3))
    with Jobs(held) as jobs:
        held_jobs = [jobs.reserve(Config()) for _ in range(jobs_module.MOST_WAITING)]
        for job in held_jobs:
            (job.folder / "upload").write_bytes(body)
            jobs.submit(job)
        assert started.wait(60)
        with pytest.raises(jobs_module.Busy, match="8 recordings are waiting"):
            jobs.reserve(Config())
        first, second, *others = held_jobs
        assert jobs.row(second)["ahead"] == 1
        for job in (first, *others):
            jobs.remove(job)
        go_on.set()
        end = time.monotonic() + 60
        while second.status != "done":
            assert time.monotonic() < end
            time.sleep(0.01)
        assert first.result is None
        assert not first.folder.exists()
        assert jobs.find(first.id) is None
        folder = second.folder
        assert folder.exists()
    assert not folder.parent.exists()

    _, job = site.send(body)
    assert site.ask("DELETE", f"/api/jobs/{job['id']}")[0] == 200
    assert site.ask("GET", f"/api/jobs/{job['id']}")[0] == 404


def test_old_results_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "MOST_KEPT", 2)
    with Jobs(lambda config: pytest.fail("not called")) as jobs:
        kept = [jobs.reserve(Config()) for _ in range(4)]
        for job in kept:
            job.error = "made for a test"
        jobs.reserve(Config())
        assert [jobs.find(job.id) is not None for job in kept] == [False, False, False, True]


def test_a_spectrogram_in_blocks_is_that_of_the_stft() -> None:
    signal = SignalSpec(window=64, hop=16)
    samples = torch.from_numpy(noisy_like(0.1)).float()
    expected = signal.stft.analyse(samples).abs().square().numpy()
    made = Spectrogram(len(expected), signal)
    for part in np.array_split(samples.numpy(), [1, 5, 700]):
        made.push(part)
    np.testing.assert_allclose(made.finish(), expected, rtol=1e-4, atol=1e-9)
    columns = Columns(2 * MAX_COLUMNS - 1, 1)
    columns.push(np.arange(2.0 * MAX_COLUMNS)[:, None])
    expected_means = [*np.arange(0.5, 2 * MAX_COLUMNS - 2, 2), 2 * MAX_COLUMNS - 2]
    np.testing.assert_allclose(columns.mean()[:, 0], expected_means)
    assert as_bytes(np.zeros((1, 2)), -200.0) == b"\xff\xff"


def test_an_address_in_use_is_a_usage_error(site: Site) -> None:
    with pytest.raises(UsageError, match="cannot listen"):
        DemoServer(site.server.jobs, port=site.server.server_port)
    assert site.server.url.startswith("http://127.0.0.1:")
