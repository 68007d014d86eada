"""Photographs the page of `pushforward play`, every lesson after its experiment and both themes: docs/play/*.webp.

    python docs/photograph_play.py [lesson ...]

It needs Chromium, its driver and the extras `play` and `dev`.
"""

import io
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from PIL import Image
from selenium import webdriver

from pushforward.play.lessons import LESSONS

FOLDER = Path(__file__).parent / "play"
WIDTH, HEIGHT = 1400, 1180


def main() -> None:
    """Take the photographs that are named, or all."""
    wanted = sys.argv[1:] or ["light", "dark", *LESSONS]
    FOLDER.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "pushforward", "play", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        found = re.search(r"http\S+", server.stdout.readline())
        assert found is not None
        options = webdriver.ChromeOptions()
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={WIDTH},{HEIGHT}"):
            options.add_argument(argument)
        options.binary_location = shutil.which("chromium") or ""
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            driver.get(found[0])
            for name in wanted:
                photograph(driver, name, found[0])
                print(name, flush=True)
        finally:
            driver.quit()
            server.send_signal(signal.SIGINT)


def photograph(driver: webdriver.Chrome, name: str, address: str) -> None:
    """Open the page, wait until it stands still, and keep what is to be seen of it."""
    theme = "dark" if name == "dark" else "light"
    features = [{"name": "prefers-color-scheme", "value": theme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    query = f"&lesson={name}" if name in LESSONS else "&step=1500&follow=0,1&square=-0.3,0.4,0.6,1.2"
    driver.get("about:blank")
    driver.get(address + query)
    still = "document.getElementById('play').textContent !== 'Pause'"
    _wait(driver, f"{still} && document.getElementById('at-nll').textContent !== '–'")
    if name in LESSONS:
        driver.execute_script("document.getElementById('show-me').click()")
        _wait(driver, "document.getElementById('answer').dataset.done === 'true'")
        _wait(driver, still)
    time.sleep(1)
    _wait(driver, still)  # the page's own run has come back to its step
    height = driver.execute_script("return document.documentElement.scrollHeight")
    screen = {"width": WIDTH, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    time.sleep(0.5)
    picture = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    picture.save(FOLDER / f"{name}.webp", quality=88, method=6)


def _wait(driver: webdriver.Chrome, condition: str) -> None:
    end = time.monotonic() + 60
    while not driver.execute_script(f"return {condition}"):
        assert time.monotonic() < end, condition
        time.sleep(0.1)


if __name__ == "__main__":
    main()
