"""A page of `pushforward play` in a real browser; without Chromium and its driver these tests are not run."""

import shutil
import time

import pytest

from play_server import Served

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
collect_ignore_glob = [] if BROWSER and DRIVER else ["test_*.py"]
WINDOW = (1500, 1400)


@pytest.fixture(scope="session")
def server():
    """A running server."""
    served = Served()
    yield served
    seconds, _ = served.end()
    assert served.process.returncode == 0
    assert seconds < 1.5


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
    complaints = page.forget_complaints()
    driver.get("about:blank")
    assert complaints == []


class Page:
    """What a visitor sees and does."""

    def __init__(self, server, driver):
        self.server, self.driver = server, driver

    def open(self, **query):
        self.driver.get("about:blank")
        self.driver.get(self.server.address + "".join(f"&{name}={value}" for name, value in query.items()))
        self.until(lambda: self.text("at-nll") not in ("–", ""))
        return self

    def forget_complaints(self):
        """Return what the console has warned of since this was asked last."""
        return [line["message"] for line in self.driver.get_log("browser") if line["level"] in ("WARNING", "SEVERE")]

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

    def drop(self, file):
        """Drop a file on the page."""
        self.run(
            "const held = new DataTransfer(); held.items.add(new File([arguments[1]], arguments[0]));"
            "document.dispatchEvent(new DragEvent('drop', {dataTransfer: held, bubbles: true, cancelable: true}))",
            file.name, file.read_text(),
        )  # fmt: skip

    def until(self, done, seconds=30):
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, self.text("banner") or "it did not come to pass"
            time.sleep(0.05)

    def at_step(self, step):
        self.until(lambda: self.number("at-step") == step and self.text("play") != "Pause")
