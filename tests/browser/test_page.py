"""The page does what it says: it trains, steps, follows, shares, and can be used by keys alone."""

import os
import re
import time
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.support.ui import Select

from play_server import Served, kill
from pushforward.__main__ import main
from pushforward.play.lessons import LESSONS

AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"


def test_it_opens_with_moons_training_to_a_good_loss(page):
    page.open()
    assert page.text("play") == "Pause"
    page.until(lambda: page.number("at-nll") < 1.2)
    Select(page.element("speed")).select_by_value("0")
    page.until(lambda: page.number("at-excess") < 0.02)
    assert page.number("at-step") > 500


def test_a_single_step_is_exactly_one(page):
    page.open(step=10)
    page.at_step(10)
    for step in (11, 12):
        page.click("one-step")
        page.at_step(step)
    page.click("reset")
    page.at_step(0)


def test_a_change_of_a_control_says_what_it_costs_and_begins_anew(page):
    page.open(step=5)
    before = page.text("cost")
    Select(page.element("set-recipe")).select_by_value("maf")
    page.until(lambda: "sampling 2" in page.text("cost"))
    assert page.text("cost") != before
    page.at_step(0)
    assert "recipe=maf" in page.driver.current_url


def test_points_drawn_by_hand_are_learned(page):
    page.open(step=5)
    page.driver.find_element("css selector", 'input[value="brush"]').click()
    canvas = page.element("points")
    stroke = ActionChains(page.driver, duration=20).move_to_element_with_offset(canvas, -80, -60).click_and_hold()
    for _ in range(20):
        stroke.move_by_offset(8, 5)
    stroke.release().perform()
    page.until(lambda: "held out" in page.text("cost") and "100,000" not in page.text("cost"))
    assert "data=drawn" in page.driver.current_url
    page.until(lambda: not page.element("exact").is_displayed())
    page.click("one-step")
    page.at_step(1)


def test_a_followed_point_adds_up_and_mass_is_kept(page):
    page.open(step=300, follow="0.5,0.6", square="-0.5,0.8,0.3,1.1")
    page.at_step(300)
    page.until(lambda: "log p(x)" in page.text("sum"))
    total, base, log_dets = re.search(r"log p\(x\) = (\S+) nats.*latent (\S+), .* = (\S+)$", page.text("sum")).groups()
    assert float(base) + float(log_dets) == pytest.approx(float(total), abs=2e-3)  # three digits are shown
    notes = [figure.text for figure in page.driver.find_elements("css selector", "#strip p")]
    masses = [float(re.search(r"mass (\S+) %", note)[1]) for note in notes]
    areas = [float(re.search(r"area (\S+),", note)[1]) for note in notes]
    assert len(masses) == 8
    assert max(masses) - min(masses) <= 0.5
    assert max(areas) > 1.5 * min(areas)


def test_an_address_gives_the_same_picture_again(page):
    page.open(data="hexagon", recipe="realnvp", step=150, temperature=0.8)
    page.at_step(150)
    first = page.text("at-nll"), page.run("return document.getElementById('points').toDataURL()")
    page.driver.refresh()
    page.until(lambda: page.text("at-nll") not in ("–", ""))
    page.at_step(150)
    time.sleep(0.3)
    assert (page.text("at-nll"), page.run("return document.getElementById('points').toDataURL()")) == first


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_is_set_up_and_shows(page, lesson):
    page.open(lesson=lesson)
    assert LESSONS[lesson].question in page.text("lesson-text")
    page.click("show-me")
    page.until(lambda: page.element("answer").get_attribute("data-done") == "true", 60)
    assert len(page.driver.find_elements("css selector", "#answer p")) >= 2
    assert re.search(r"\d", page.text("answer"))


def test_keys_alone(page):
    page.open(step=3)
    page.at_step(3)
    body = page.driver.find_element("tag name", "body")
    body.send_keys(".")
    page.at_step(4)
    body.send_keys(" ")
    page.until(lambda: page.text("play") == "Pause")
    body.send_keys(" ")
    page.until(lambda: page.text("play") == "Play")
    page.element("points").send_keys(Keys.ARROW_RIGHT, Keys.ARROW_UP)
    page.until(lambda: "log p(x)" in page.text("sum"))
    body.send_keys("r")
    page.at_step(0)
    reached = page.run(
        "return [...document.querySelectorAll('button, select, input, canvas[tabindex], .strip')]"
        ".filter(e => e.offsetParent && !e.disabled && e.tabIndex < 0).length"
    )
    assert reached == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 2560])
def test_it_fits_and_is_accessible(page, theme, width):
    features = [{"name": "prefers-color-scheme", "value": theme}]
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    screen = {"width": width, "height": 1200, "deviceScaleFactor": 1, "mobile": width < 600}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    try:
        page.open(lesson="bridge")
        page.at_step(LESSONS["bridge"].settings["step"])
        assert page.run("return document.documentElement.scrollWidth") <= width
        if not AXE.exists():
            pytest.skip("axe-core is not there: npm install")
        page.run(AXE.read_text())
        found = page.driver.execute_async_script("axe.run().then(arguments[0])")["violations"]
        serious = [
            (rule["id"], rule["nodes"][0]["html"]) for rule in found if rule["impact"] in ("serious", "critical")
        ]
        assert serious == []
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_a_page_of_the_run_needs_no_server(page, tmp_path):
    page.open(step=200, square="-0.5,0.8,0.3,1.1")
    page.at_step(200)
    page.driver.execute_cdp_cmd("Page.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    page.click("page")
    file = tmp_path / "flow.html"
    page.until(file.exists)
    page.driver.get(file.as_uri())
    page.until(lambda: page.number("at-step") == 200 and page.text("play") != "Pause")
    assert page.run("return document.querySelectorAll('#strip figure').length") == 8
    assert page.run("return performance.getEntriesByType('resource').length") == 0


def test_it_stays_at_thirty_frames_while_it_trains(page):
    page.open(num_steps=1_000_000)
    Select(page.element("speed")).select_by_value("0")
    page.click("play")
    time.sleep(1)
    drawn, frames = page.driver.execute_async_script(
        "const done = arguments[0]; let n = 0, news = 0; const end = performance.now() + 3000;"
        "new MutationObserver(() => news++).observe(document.getElementById('at-step'), {childList: true});"
        "const tick = () => { n++; performance.now() < end ? requestAnimationFrame(tick) : done([n / 3, news / 3]); };"
        "requestAnimationFrame(tick);"
    )
    print(f"{drawn:.0f} pictures of the screen and {frames:.0f} of the run a second")
    assert drawn > 15  # 30 on a quiet machine; two processors are shared with whatever else runs
    assert frames > 3


def test_a_dropped_file_is_learned_and_a_bad_one_changes_nothing(page, tmp_path):
    page.open(step=7)
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text("a,b\n" + "".join(f"{i % 17},{(7 * i) % 23}\n" for i in range(200)))
    bad.write_text("a,b,c\n1,2,3\n2,3,5\n")
    page.drop(bad)
    page.until(lambda: "two columns" in page.text("banner"))
    assert page.number("at-step") == 7
    assert "data=file" not in page.driver.current_url
    page.forget_complaints()  # that the file was refused is told on the console
    page.drop(good)
    page.until(lambda: "160 training points, 40 held out" in page.text("cost"))
    assert page.text("banner") == ""
    page.until(lambda: page.number("at-step") > 20)  # it goes on by itself
    page.element("file").send_keys(str(bad))  # as a visitor chooses a file
    page.until(lambda: "bad.csv: the file must have two columns" in page.text("banner"))
    page.forget_complaints()


def test_what_an_address_asks_for_and_cannot_have_is_said_beside_a_page_that_works(page):
    page.open(layers=99)
    assert "layers must be from 1 to 16" in page.text("banner")
    page.click("one-step")
    page.at_step(1)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"temperature": 9}, "temperature must be"),
        ({"square": "1,0,0,1"}, "square must be"),
        ({"layers_used": 999}, "layers must be"),
        ({"data": "drawn", "drawn": "garbage!!"}, "drawn points must be"),
        ({"lesson": "constructor"}, ""),
    ],
)
def test_an_odd_address_is_said_and_the_page_works(page, query, says):
    page.open(**query, **({} if "drawn" in query or "lesson" in query else {"recipe": "realnvp", "step": 5}))
    page.until(lambda: says in page.text("banner"))
    if "recipe=realnvp" in page.driver.current_url:
        page.at_step(5)
    before = page.number("at-step")
    page.click("one-step")
    page.until(lambda: page.number("at-step") > before)


def test_an_area_that_overflows_is_shown_as_infinite(page):
    page.open(recipe="realnvp", log_scale="plain", step=30, square="-1e9,1e9,-1e9,1e9")
    page.at_step(30)
    page.until(lambda: "mass" in page.driver.find_element("css selector", "#strip p").text)


def test_a_recorded_page_marks_what_was_recorded(page, tmp_path):
    file = tmp_path / "run.html"
    state = "step=20&num_points=1000&follow=0.5,0.6&square=-0.5,0.8,0.3,1.1"
    assert main(["play", "--state", state, "--export", str(file)]) == 0
    page.driver.get(file.as_uri())
    page.until(lambda: page.text("play") != "Pause" and page.number("at-step") == 20)
    marked = page.run(
        "const canvas = document.getElementById('points'); let n = 0;"
        "const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);"
        "for (let i = 0; i < data.length; i += 4) n += data[i] === 194 && data[i + 1] === 24 && data[i + 2] === 91;"
        "return n"
    )
    assert marked > 100


def test_the_address_keeps_up_with_steps_and_looks(page):
    page.open(step=10)
    page.at_step(10)
    page.click("one-step")
    page.at_step(11)
    page.until(lambda: "step=11" in page.driver.current_url)
    page.click("reset")
    page.at_step(0)
    page.until(lambda: "step" not in page.driver.current_url)


def test_a_number_out_of_range_is_set_right_and_said(page):
    page.open(step=3)
    noise = page.element("set-noise")
    assert noise.get_attribute("value") == "0.1"  # that of the density itself
    noise.send_keys(Keys.CONTROL, "a")
    noise.send_keys("7", Keys.ENTER)
    page.until(lambda: "noise can be from 0.02 to 1" in page.text("banner"))
    assert noise.get_attribute("value") == "1"


def test_a_schedule_that_is_done_can_be_run_again(page):
    page.open(num_steps=50, num_points=1000)
    page.click("play")
    page.until(lambda: page.text("play") == "Again")
    assert page.number("at-step") == 50
    page.click("play")
    page.until(lambda: page.text("play") == "Pause")
    page.until(lambda: page.text("play") == "Again")


def test_a_tab_that_takes_a_session_over_ends_the_other(page):
    page.open(step=20)
    page.at_step(20)
    first = page.driver.current_window_handle
    name = page.run("return sessionStorage.getItem('session')")
    page.driver.switch_to.new_window("tab")
    try:
        page.driver.get(f"http://{page.server.host}/icon.svg")
        page.run("sessionStorage.setItem('session', arguments[0])", name)  # as a duplicated tab has it
        page.forget_complaints()  # a picture has no icon
        page.driver.get(f"http://{page.server.host}/?step=30")
        page.until(lambda: page.text("at-nll") not in ("–", ""))
        page.at_step(30)
        page.driver.switch_to.window(first)
        page.until(lambda: "another tab" in page.text("banner"))
        assert page.run("return document.querySelector('main').inert")
    finally:
        page.driver.switch_to.window(page.driver.window_handles[-1])
        page.driver.close()
        page.driver.switch_to.window(first)


def test_a_training_that_is_killed_comes_back_where_it_was(page):
    page.open(step=40)
    page.at_step(40)
    nll = page.text("at-nll")
    page.run(
        "const banner = document.getElementById('banner'); window.banners = [];"
        "new MutationObserver(() => banners.push(banner.textContent)).observe(banner, {childList: true})"
    )
    for process in page.server.trainers():
        kill(process)
    page.until(lambda: any("comes back by itself" in text for text in page.run("return banners")))
    page.until(lambda: page.text("banner") == "")
    page.at_step(40)
    assert page.text("at-nll") == nll


def test_a_server_that_ends_is_missed_and_the_page_opened_again_is_the_same(page):
    own = Served()
    page.driver.get(own.address + "&step=25")
    page.until(lambda: page.text("at-nll") not in ("–", ""))
    page.at_step(25)
    nll, state = page.text("at-nll"), page.run("return location.search")
    own.end()
    page.until(lambda: "start it again" in page.text("banner"))
    page.driver.get("about:blank")
    page.forget_complaints()  # that the server cannot be reached
    page.driver.get(page.server.address + state.replace("?", "&"))
    page.until(lambda: page.text("at-nll") not in ("–", ""))
    page.at_step(25)
    assert page.text("at-nll") == nll


def test_memory_stays_flat(page):
    minutes = float(os.environ.get("PLAY_MINUTES", "0.3"))
    page.open(num_steps=1_000_000)
    Select(page.element("speed")).select_by_value("0")
    page.click("play")
    time.sleep(5)  # everything has been used once
    end, rows, steps = time.monotonic() + 60 * minutes, [], []
    while not rows or time.monotonic() < end:
        if page.text("play") != "Pause":  # all steps are done: once more
            page.click("play")
        page.driver.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
        heap = page.run("return performance.memory.usedJSHeapSize / 2**20")
        steps.append(page.number("at-step"))
        rows.append((heap, max(map(resident, page.server.trainers())), resident(page.server.process.pid)))
        time.sleep(min(60 * minutes / 10, 15))
    print(*(f"step {n:,.0f}: page {a:.1f}, training {b:.1f}, server {c:.1f} MiB"
            for n, (a, b, c) in zip(steps, rows, strict=True)), sep="\n")  # fmt: skip
    half = len(rows) // 2
    for values, most in zip(zip(*rows, strict=True), (10, 40, 10), strict=True):
        assert max(values[half:]) < max(values[: half + 1]) + most


def resident(process):
    """Return the MiB of memory that a process has."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text())[1]) / 1024
