"""The listening page in a real browser: it plays, switches, sorts and exports, from disk, offline."""

from __future__ import annotations

import csv
import io
import json
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from tests.browser import chromium, wait
from vae_se.benchmark.listen import listening_page
from vae_se.benchmark.picture import png, spectrogram
from vae_se.benchmark.report import load_results
from vae_se.errors import UsageError

RATE = 16000
METHODS = ("noisy", "alpha", "omega")
CHANGE = {"a": 0.5, "b": -0.25, "c": 0.1}  # of alpha, by mixture


def write_results(folder: Path, audio: bool = True) -> Path:
    """Three mixtures by three methods, with audio of three seconds each."""
    meta = {
        "protocol": {
            "name": "tiny",
            "description": "Made for a test.",
            "digest": "0",
            "set": "pairs",
            "data": {},
        },
        "metrics": ["pesq_wb", "lsd"],
        "methods": {m: {"use": m, "options": {}} for m in METHODS},
        "testset": {"entries": 3, "fingerprint": "0"},
        "seed": 0,
        "runs": [],
    }
    folder.mkdir(parents=True)
    (folder / "rows.meta.json").write_text(json.dumps(meta))
    with (folder / "rows.jsonl").open("w") as stream:
        for snr, (name, gain) in enumerate(CHANGE.items()):
            for index, method in enumerate(METHODS):
                pesq = {"noisy": 1.5, "alpha": 1.5 + gain, "omega": None if name == "c" else 1.2}[method]
                row = {
                    "id": name, "method": method, "snr_db": 5.0 * snr, "noise": "</script>rain", "error": None,
                    "audio_seconds": 3.0, "seconds": 0.1, "rtf": 0.03, "failures": {},
                    "scores": {"pesq_wb": pesq, "lsd": 9.0 - index},
                }  # fmt: skip
                stream.write(json.dumps(row) + "\n")
    if audio:
        t = np.arange(3 * RATE) / RATE
        for index, method in enumerate(("clean", *METHODS)):
            (folder / "audio" / method).mkdir(parents=True)
            for name in CHANGE:
                sf.write(
                    folder / f"audio/{method}/{name}.flac",
                    0.1 * np.sin(2 * np.pi * 300 * (index + 1) * t),
                    RATE,
                )
    return folder


def test_a_spectrogram_is_a_valid_png() -> None:
    data = png(np.arange(12, dtype=np.uint8).reshape(3, 4))
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", data[16:24]) == (4, 3)
    at = data.index(b"IDAT")
    size = struct.unpack(">I", data[at - 4 : at])[0]
    assert zlib.decompress(data[at + 4 : at + 4 + size]) == b"\0\0\1\2\3\0\4\5\6\7\0\x08\x09\x0a\x0b"
    for samples in (0, 10, RATE):
        assert spectrogram(np.zeros(samples), RATE, 0.0).startswith(b"\x89PNG")


def test_the_page_is_self_contained_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    results = load_results([write_results(tmp_path / "r")])
    page = listening_page(results, count=2)
    assert "2 of 3 mixtures" in page
    assert "http:" not in page.replace("http://www.w3.org", "")
    assert "https:" not in page
    assert page.count("</script>") == 2
    found = json.loads(page.split('id="data">')[1].split("</script>")[0])
    # The worst and the best change of the method in focus.
    assert [item["id"] for item in found["items"]] == ["a", "c"] or found["focus"] == "alpha"
    with pytest.raises(UsageError, match="no audio"):
        listening_page(load_results([write_results(tmp_path / "none", audio=False)]))
    with pytest.raises(UsageError, match="no results of method"):
        listening_page(results, methods=["goood"])


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile"), "--window-size=1200,900") as opened:
        yield opened


def test_play_switch_sort_and_blind_export(browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select

    page = tmp_path / "page.html"
    page.write_text(listening_page(load_results([write_results(tmp_path / "r")]), methods=["omega", "alpha"]))
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    browser.get(page.as_uri())
    body = browser.find_element(By.TAG_NAME, "body")

    def script(text: str) -> Any:
        return browser.execute_script("return " + text)

    def order() -> list[str]:
        return [a.get_attribute("data-id") for a in browser.find_elements(By.TAG_NAME, "article")]

    # Sorted from the worst change to the best, and back; a file without a score comes last.
    assert order() == ["b", "c", "a"]
    Select(browser.find_element(By.ID, "order")).select_by_value("-1")
    assert order() == ["a", "c", "b"]
    Select(browser.find_element(By.ID, "method")).select_by_visible_text("omega")
    assert order()[-1] == "c"
    Select(browser.find_element(By.ID, "sort")).select_by_value("id")
    assert order() == ["a", "b", "c"]

    # The summary on top, with units and directions; cards in rows of like length.
    summary = browser.find_element(By.ID, "summary").text
    assert "mean of 3 mixtures" in summary
    assert "pesq_wb ↑" in summary
    assert "lsd ↓" in summary
    assert "MOS-LQO" in summary
    before = browser.get_window_size()
    for width in (1280, 900, 420):
        browser.set_window_size(width, 900)
        columns, cards = script(
            "[document.querySelector('.stimuli')].map(e => [getComputedStyle(e)['grid-template-columns']"
            ".split(' ').length, e.children.length])[0]"
        )
        assert cards % columns in (0, columns - 1), (width, columns, cards)
    browser.set_window_size(before["width"], before["height"])

    # It plays: time goes on, and the sound is not silence.
    browser.find_element(By.CSS_SELECTOR, "article .play").click()
    wait(lambda: script("player.playing && position() > 0.1"))
    assert script("player.key") == "noisy"
    assert script("player.buffers.noisy.getChannelData(0).reduce((a, b) => Math.max(a, b))") == pytest.approx(
        0.1, abs=0.01
    )
    assert script("player.buffers.clean.duration") == pytest.approx(3.0, abs=0.01)

    # An arrow skips a second (the three seconds are a loop); a switch goes on at the same position.
    start = script("position()")
    body.send_keys(Keys.ARROW_RIGHT)
    before = script("position()")
    assert (before - start) % 3.0 > 0.9
    body.send_keys("3")
    after = wait(lambda: script("player.key === 'omega' && position()"))
    assert 0 <= (after - before) % 3.0 < 0.8
    pressed = browser.find_elements(By.CSS_SELECTOR, '[aria-pressed="true"]')
    assert [p.find_element(By.CLASS_NAME, "name").text for p in pressed] == ["omega"]
    assert browser.find_element(By.ID, "status").get_attribute("textContent") == "playing: omega"
    body.send_keys("a")
    wait(lambda: script("player.key === 'noisy'"))
    body.send_keys(" ")
    assert not script("player.playing")
    held = script("position()")
    time.sleep(0.15)
    assert script("position()") == held
    body.send_keys("j")
    wait(lambda: script("player.playing && player.item.id === 'b'"))
    body.send_keys(" ")

    # Blind: nothing tells the methods apart, and the choices come out as CSV.
    browser.find_element(By.ID, "blind").click()
    shown = browser.find_element(By.TAG_NAME, "main").text
    assert "sound A" in shown
    assert not any(word in shown for word in ("noisy", "alpha", "omega", "1.5", "rain", "dB"))
    assert [h.text for h in browser.find_elements(By.TAG_NAME, "h2")] == ["mixture 1", "mixture 2", "mixture 3"]
    labels = [
        e.get_attribute("aria-label") for e in browser.find_elements(By.CSS_SELECTOR, "main [aria-label]")
    ]
    assert all("mixture" in label for label in labels)
    assert not browser.find_element(By.ID, "summary").is_displayed()
    assert not browser.find_elements(By.CSS_SELECTOR, "main img")
    browser.find_element(By.ID, "listener").send_keys("=me, 1")
    second = browser.find_elements(By.CSS_SELECTOR, "article:first-child .best")[1]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", second)  # clear of the controls
    second.click()
    Select(browser.find_elements(By.CSS_SELECTOR, "article:first-child .rating")[1]).select_by_value("4")
    letters = script("data.items.find(i => i.id === 'a').letters")
    browser.find_element(By.ID, "export").click()
    path = tmp_path / "tiny-choices.csv"
    wait(path.exists)
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert len(rows) == 9
    assert {row["listener"] for row in rows} == {"=me, 1"}
    best = [row for row in rows if row["best"] == "1"]
    assert len(best) == 1
    assert best[0]["mixture"] == "a"
    assert best[0]["rating"] == "4"
    assert letters[best[0]["method"]] == best[0]["sound"] == "B"
    browser.find_element(By.ID, "blind").click()
    assert "alpha" in browser.find_element(By.TAG_NAME, "main").text

    severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert severe == []


def test_this_program_is_called_by_its_name_on_the_page(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "r")
    meta = json.loads((folder / "rows.meta.json").read_text())
    meta["methods"]["alpha"]["use"] = "mcem"
    (folder / "rows.meta.json").write_text(json.dumps(meta))
    page = listening_page(load_results([folder]))
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert data["names"] == {"noisy": "noisy", "alpha": "vae-se, alpha", "omega": "omega"}
    assert data["summary"]["files"] == 3
    assert data["summary"]["rows"][0]["means"]["lsd"] == 9.0
    assert data["metrics"][0] == {"name": "pesq_wb", "better": "higher", "unit": "MOS-LQO 1.04..4.64"}
