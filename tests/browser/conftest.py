"""A page of `pushforward play` in a real browser; without Chromium and its driver these tests are not run."""

import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
collect_ignore_glob = [] if BROWSER and DRIVER else ["test_*.py"]
WINDOW = (1500, 1400)


@pytest.fixture(scope="session")
def server():
    """The address of a running server."""
    command = [sys.executable, "-m", "pushforward", "play", "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    address = re.search(r"http\S+", process.stdout.readline())[0]
    yield address
    process.stdout.close()
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    assert process.wait(5) == 0
    assert time.monotonic() - began < 1.5


@pytest.fixture(scope="session")
def driver():
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    width, height = WINDOW
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={width},{height}"):
        options.add_argument(argument)
    options.binary_location = BROWSER
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(server, driver):
    """Open the page with a query; at the end nothing may stand on the console."""
    page = Page(server, driver)
    yield page
    complaints = [entry["message"] for entry in driver.get_log("browser") if entry["level"] in ("WARNING", "SEVERE")]
    driver.get("about:blank")
    assert complaints == []


class Page:
    """What a visitor sees and does."""

    def __init__(self, server, driver):
        self._server, self.driver = server, driver

    def open(self, **query):
        self.driver.get("about:blank")
        self.driver.get(self._server + "".join(f"&{name}={value}" for name, value in query.items()))
        self.until(lambda: self.text("at-nll") not in ("–", ""))
        return self

    def run(self, code, *arguments):
        return self.driver.execute_script(code, *arguments)

    def element(self, name):
        return self.driver.find_element("id", name)

    def text(self, name):
        return self.element(name).text

    def number(self, name):
        return float(self.text(name).split(" ")[0].replace(",", ""))

    def click(self, name):
        self.element(name).click()

    def until(self, done, seconds=30):
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, self.text("banner") or "it did not come to pass"
            time.sleep(0.05)

    def at_step(self, step):
        self.until(lambda: self.number("at-step") == step and self.text("play") == "Play")
