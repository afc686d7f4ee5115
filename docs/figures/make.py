"""Draw the figures of docs/method.md: parts of an HTML report, shot in Chromium.

    python docs/figures/make.py

Needs the extra `dev`, chromium and chromedriver. The report is that of
figures.memleak.toml, whose models are trained and sampled on the spot.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By

HERE = Path(__file__).parent
WIDTH, HEIGHT, SCALE = 1100, 2000, 1.5
BOOK = "Night Shift at the Seed Vault"

# file name: the heading of the pair or book, and which part of it
FIGURES = {
    "measures-shuffler": (f"shuffler on {BOOK}", "dl.measures"),
    "map-reciter": (f"reciter on {BOOK}", "figure.map"),
}


def main() -> None:
    """Run the suite and photograph its report."""
    with report_of_figures() as report:
        photograph(report)


@contextlib.contextmanager
def report_of_figures(*options: str) -> Iterator[Path]:
    """The HTML report of figures.memleak.toml, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.html"
        subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-m", "copyright"),
                *(
                    HERE / "figures.memleak.toml",
                    "--rootdir",
                    folder,
                    "-p",
                    "no:cacheprovider",
                ),
                *(f"--memleak-html={report}", *options),
                f"--memleak-ledger=sqlite:///{folder}/ledger.db",
            ],
            check=False,  # that a model leaks is what is to be seen
            timeout=600,
        )
        yield report


def photograph(report: Path) -> None:
    """Write every figure beside this file."""
    with chromium() as browser:
        browser.set_window_size(WIDTH, HEIGHT)
        browser.get(report.as_uri())
        for name, (heading, part) in FIGURES.items():
            article = browser.find_element(
                By.XPATH, f"//article[.//h2[normalize-space(.)='{heading}']]"
            )
            article.find_element(By.CSS_SELECTOR, part).screenshot(
                str(HERE / f"{name}.png")
            )


@contextlib.contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """A browser without a window."""
    options = webdriver.ChromeOptions()
    options.binary_location = _found("chromium")
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        f"--force-device-scale-factor={SCALE}",
    ):
        options.add_argument(argument)
    # Named, so that Selenium looks for no driver of its own in the network.
    service = webdriver.ChromeService(_found("chromedriver"))
    browser = webdriver.Chrome(options=options, service=service)
    try:
        yield browser
    finally:
        browser.quit()


def _found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        sys.exit(
            f"{program} is not installed (on Debian: apt-get install chromium "
            "chromium-driver)"
        )
    return path


if __name__ == "__main__":
    main()
