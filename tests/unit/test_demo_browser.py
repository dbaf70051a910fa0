"""``vae-se demo`` in a real browser: upload, enhance, play, switch, download, record; light, dark, narrow."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from tests.browser import chromium, wait
from tests.conftest import ROOT, noisy_like

pytestmark = pytest.mark.slow

#: A microphone that beeps, and a window that shows the page at once.
FLAGS = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--window-size=1280,1400")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """``vae-se demo`` in a process of its own, with the default prior."""
    command = [sys.executable, "-m", "vae_se", "demo", "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "http://127.0.0.1:" in line, line
        yield line.split()[2]
        process.terminate()
        rest = process.stderr.read()
        assert process.wait(60) == 0
        assert rest.endswith("stopped\n")
        assert "Traceback" not in rest


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile"), *FLAGS) as opened:
        yield opened


def screenshot(browser: Any, name: str) -> None:
    """Keep a picture of the page where $VAE_SE_SCREENSHOTS names a folder for it."""
    folder = os.environ.get("VAE_SE_SCREENSHOTS")
    if folder:
        size = browser.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        Path(folder, f"{name}.png").write_bytes(base64.b64decode(shot["data"]))


def complaints(browser: Any) -> list[str]:
    """Errors in the browser's log, without the refusal of the file that is no audio."""
    severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    return [message for message in severe if not ("api/jobs?" in message and "400" in message)]


def test_upload_enhance_play_switch_download(browser: Any, address: str, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select

    noisy = np.stack([noisy_like(4.0, 44100, seed) for seed in range(2)]).T
    sf.write(tmp_path / "talk at noon.wav", noisy, 44100)
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    browser.get(address)

    def find(name: str) -> Any:
        return browser.find_element(By.ID, name)

    def script(text: str) -> Any:
        return browser.execute_script("return " + text)

    wait(lambda: script("page.options !== null"))
    screenshot(browser, "start")
    assert not find("enhance").is_enabled()

    # A file that is no audio: one sentence.
    (tmp_path / "notes.txt").write_text("no audio")
    find("file").send_keys(str(tmp_path / "notes.txt"))
    find("enhance").click()
    wait(lambda: "is not audio" in find("error").text)
    assert not find("result").is_displayed()

    find("file").send_keys(str(tmp_path / "talk at noon.wav"))
    assert find("chosen").text.startswith("talk at noon.wav, 706 kB")
    assert not find("error").is_displayed()
    Select(find("preset")).select_by_value("fast")
    Select(find("atten")).select_by_value("20")
    find("enhance").click()
    wait(lambda: find("work").is_displayed())
    screenshot(browser, "working")
    wait(lambda: find("result").is_displayed(), 300)
    wait(lambda: len(browser.find_elements(By.CSS_SELECTOR, "#pictures figure")) == 4)
    assert find("result-title").text == "talk at noon.wav"
    assert find("facts").text.startswith("0:04.0, 44.1 kHz, 2 channels")
    kinds = [f.get_attribute("data-kind") for f in browser.find_elements(By.CSS_SELECTOR, "#pictures figure")]
    assert kinds == ["noisy", "enhanced", "noise", "uncertainty"]
    # The pictures are not empty.
    assert script(
        "[...document.querySelectorAll('#pictures canvas')].every(c => new Set(c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data).size > 60)"
    )
    screenshot(browser, "wide-light")

    # Play, and switch at the same position; what is heard comes from the side that is selected.
    find("loop").click()
    find("play").click()
    wait(lambda: script("!media.paused && media.currentTime > 0.2"))
    assert find("play").text == "Pause"
    wait(lambda: script("player.gains[0].gain.value < 0.01 && player.gains[1].gain.value > 0.99"))
    switched = (
        "(start => { document.querySelector('[data-side=before]').click(); return media.currentTime - start; })"
    )
    assert 0 <= script(f"{switched}(media.currentTime)") < 0.1
    wait(lambda: script("player.gains[0].gain.value > 0.99 && player.gains[1].gain.value < 0.01"))
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys("3")
    wait(lambda: script("player.gains[0].gain.value > 0.99 && player.gains[1].gain.value < -0.99"))
    body.send_keys("2")
    assert script("page.side") == "after"
    body.send_keys(" ")
    wait(lambda: script("media.paused"))
    held = script("media.currentTime")
    body.send_keys(Keys.ARROW_LEFT)
    assert script("media.currentTime") == pytest.approx(max(0, held - 1), abs=0.05)

    # A click on a picture goes there; the pointer reads a level.
    area = browser.find_element(By.CSS_SELECTOR, "[data-kind=noise] .area")
    webdriver = pytest.importorskip("selenium.webdriver")
    webdriver.ActionChains(browser).move_to_element(area).click().perform()
    assert script("media.currentTime") == pytest.approx(2.0, abs=0.05)
    assert find("readout").text.startswith("Estimated noise: 2.0")
    Select(find("channel")).select_by_value("1")
    wait(lambda: script("media.src.endsWith('/listen/1') && media.readyState > 1"))
    assert script("media.currentTime") == pytest.approx(2.0, abs=0.05)

    find("download").click()
    path = tmp_path / "talk at noon_enhanced.wav"
    wait(path.exists)
    wait(lambda: sf.info(path).frames == len(noisy))
    enhanced, rate = sf.read(path)
    assert (enhanced.shape, rate) == (noisy.shape, 44100)
    assert 0 < np.mean((noisy - enhanced) ** 2) < np.mean(noisy**2)

    assert complaints(browser) == []


def test_the_page_in_the_dark_and_on_a_telephone(browser: Any, address: str) -> None:
    for dark in (False, True):
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        back = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (back == "rgb(22, 23, 26)") == dark
        for width in (1280, 375):
            metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            # Nothing is wider than the screen.
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
            screenshot(browser, f"{'narrow' if width < 500 else 'wide'}-{'dark' if dark else 'light'}")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_microphone_and_a_format_that_the_browser_decodes(
    browser: Any, address: str, tmp_path: Path
) -> None:
    from selenium.webdriver.common.by import By

    browser.get(address)

    def script(text: str) -> Any:
        return browser.execute_script("return " + text)

    wait(lambda: script("page.options !== null"))
    record = browser.find_element(By.ID, "record")
    record.click()
    wait(lambda: script("microphone.blocks.length > 200"))
    record.click()
    wait(lambda: script("page.recording !== null"))
    assert browser.find_element(By.ID, "chosen").text.startswith("microphone.wav")
    browser.set_script_timeout(120)
    # A second of tone in webm, made by the browser itself, and decoded by it.
    made = browser.execute_async_script(
        """
        const done = arguments[0], context = new AudioContext();
        const target = context.createMediaStreamDestination();
        const tone = context.createOscillator(); tone.connect(target); tone.start();
        const recorder = new MediaRecorder(target.stream, { mimeType: "audio/webm" });
        recorder.ondataavailable = async event => {
          const sound = await decoded(event.data);
          const view = new DataView(await sound.arrayBuffer());
          done([view.getUint32(24, true), view.byteLength]);
        };
        recorder.start(); setTimeout(() => recorder.stop(), 800);
        """
    )
    assert made[0] == 48000
    assert made[1] > 44 + 2 * 0.3 * 48000
    assert complaints(browser) == []
