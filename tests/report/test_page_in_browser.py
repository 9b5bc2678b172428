"""The page in a real browser: charts are drawn, nothing is fetched, hostile text stays text."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import alert_is_present
from selenium.webdriver.support.ui import WebDriverWait
from tests.report.run_folders import HOSTILE, round_line, write_run

from dgrpo.report.page import write_report
from dgrpo.runs.reader import find_runs

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    BROWSER is None or DRIVER is None, reason="needs chromium and chromedriver"
)

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,1600",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A headless browser with an empty profile that has opened a report on hostile runs."""
    folder = tmp_path_factory.mktemp("browser")
    write_hostile_runs(folder / "runs")
    page = folder / "report.html"
    write_report(find_runs([folder / "runs"]), page)
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        driver.get(page.as_uri())
        WebDriverWait(driver, 60).until(
            lambda found: len(found.find_elements(By.CSS_SELECTOR, ".chart svg")) == 3
        )
        yield driver
    finally:
        driver.quit()


def write_hostile_runs(folder: Path) -> None:
    """Two experiments; all that one of them says is hostile."""
    examples = [{"question": HOSTILE, "text": HOSTILE, "reward": 0.0, "poisoned": True}]
    changes = {"examples": examples, "attack_success": {HOSTILE: 0.5}}
    lines = [round_line(number, None, 0.3, **changes) for number in range(4)]
    for seed in (0, 1):
        write_run(folder, "calm", seed=seed, rounds=3)
        write_run(folder, "wild", seed=seed, lines=lines, called=HOSTILE, claim=HOSTILE)


def test_three_charts_are_drawn(browser: webdriver.Chrome) -> None:
    charts = browser.find_elements(By.CSS_SELECTOR, ".chart svg")
    assert len(charts) == 3
    for chart in charts:
        assert chart.size["width"] > 300
        assert chart.size["height"] > 150
        lines = chart.find_elements(By.CSS_SELECTOR, ".mark-line path")
        assert len([line for line in lines if line.get_attribute("d")]) == 2
        assert "calm" in chart.text


def test_charts_are_as_wide_as_their_figure(browser: webdriver.Chrome) -> None:
    for place in browser.find_elements(By.CSS_SELECTOR, ".chart"):
        svg = place.find_element(By.TAG_NAME, "svg")
        assert abs(svg.size["width"] - place.size["width"]) <= 8


def test_the_page_does_not_scroll_sideways(browser: webdriver.Chrome) -> None:
    wide, seen = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= seen


def test_charts_follow_the_colour_scheme(browser: webdriver.Chrome) -> None:
    label = ".chart .mark-text.role-axis-label text"
    light = browser.find_element(By.CSS_SELECTOR, label).get_attribute("fill")
    scheme = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    WebDriverWait(browser, 30, ignored_exceptions=[Exception]).until(
        lambda found: found.find_element(By.CSS_SELECTOR, label).get_attribute("fill") != light
    )


def test_hostile_text_stays_text(browser: webdriver.Chrome) -> None:
    assert not alert_is_present()(browser)
    assert not browser.find_elements(By.CSS_SELECTOR, "img, [onerror]")
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    shown = [element.text for element in browser.find_elements(By.CSS_SELECTOR, "article pre")]
    assert any("</script><img src=x onerror=alert(1)>" in text for text in shown)
    assert all("{{ 7*7 }}" in text for text in shown if "<img" in text)


def test_the_console_stays_silent(browser: webdriver.Chrome) -> None:
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]


def test_nothing_is_fetched_from_outside(browser: webdriver.Chrome) -> None:
    log = browser.get_log("performance")  # type: ignore[no-untyped-call]
    events = [json.loads(entry["message"])["message"] for entry in log]
    fetched = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
        and not event["params"]["documentURL"].startswith("chrome:")  # the browser's own new tab
    ]
    fetched += browser.execute_script(
        "return performance.getEntriesByType('resource').map(e => e.name)"
    )
    assert fetched
    assert [url for url in fetched if not url.startswith(("file:", "data:"))] == []
