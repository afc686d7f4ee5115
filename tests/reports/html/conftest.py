"""A real browser, for the tests of pages."""

import shutil
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
SWITCHES = (
    *("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"),
    *("no-first-run", "disable-background-networking", "disable-component-update"),
    "disable-sync",
)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    if not (CHROMIUM and DRIVER):
        pytest.skip("needs chromium and chromedriver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for switch in (*SWITCHES, f"user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(f"--{switch}")
    logs = {"browser": "ALL", "performance": "ALL"}
    options.set_capability("goog:loggingPrefs", logs)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(600)  # the rules take a long page a minute and more
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def open_page(browser):
    """Opens a page at a size, with empty logs, and everything in it unfolded."""

    def open_at(address, size=(1280, 900), *, dark=False, unfolded=True):
        browser.get("about:blank")
        browser.get_log("browser"), browser.get_log("performance")
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        media = {"media": "", "features": [scheme]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        width, height = size
        metrics = {"width": width, "height": height, "mobile": width < 500}
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {**metrics, "deviceScaleFactor": 1}
        )
        browser.get(address)
        if unfolded:
            browser.execute_script(
                "document.querySelectorAll('details').forEach(each => each.open = true)"
            )

    return open_at


@pytest.fixture(scope="session")
def violations(browser):
    """Returns each rule of accessibility that the page breaks, with the first element."""
    package = pytest.importorskip("selenium_axe_python")
    folder = Path(package.__file__).parent / "axe-core"
    rules = (folder / "axe.min.js").read_text(encoding="utf-8")

    def broken():
        browser.execute_script(rules)
        result = browser.execute_async_script("axe.run().then(arguments[0])")
        return {
            violation["id"]: violation["nodes"][0]["html"]
            for violation in result["violations"]
        }

    return broken
