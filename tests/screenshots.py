"""`python -m tests.screenshots`: the pictures of the READMEs, anew, from a real run of the quick study with 24 trials.

It takes some minutes, needs Chromium, and writes studies/report.png and studies/mlflow.png.
"""

import argparse
import base64
import io
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from sweep.layout import RunsDir
from sweep.track.client import open_client
from sweep.track.views import view_address
from tests.browser import open_browser
from tests.servers import free_port, mlflow_server
from tests.studies import ROOT

STUDY = ROOT / "studies" / "quick.toml"
N_TRIALS = 24  # the study's own few give no picture of a search
FIRST, LAST = "Learning curves of the finalists", "The search"  # headings between which the report is shown
N_COLOURS = 256  # of a picture: enough for these, and a third of the bytes


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.screenshots", description=__doc__)
    parser.add_argument("--runs-dir", type=Path, help="where the study was run, instead of a run of its own")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = RunsDir(given.runs_dir or Path(folder))
        command = ["run", str(STUDY), "--trials", str(N_TRIALS), "--runs-dir", str(runs.root)]
        subprocess.run([sys.executable, "-m", "sweep", *command], cwd=ROOT, check=True)
        save("report.png", report_picture(runs))
        save("mlflow.png", mlflow_picture(runs))


def report_picture(runs: RunsDir) -> bytes:
    """The pictures of the report page."""
    with open_browser(1100, 1200) as browser:
        browser.get((runs.reports("quick") / "report.html").absolute().as_uri())
        top, bottom = (_top_of(browser, heading) for heading in (FIRST, LAST))
        browser.set_window_size(1100, bottom + 400)  # Chromium draws nothing of what it never showed
        WebDriverWait(browser, 30).until(
            lambda b: b.execute_script("return document.querySelectorAll('.main-svg').length") > 8
        )
        clip = {"x": 0, "y": top, "width": 1080, "height": bottom - top, "scale": 1}
        return _picture(browser, clip)


def mlflow_picture(runs: RunsDir) -> bytes:
    """The experiment, as `make ui` leads to it."""
    experiment = open_client(runs).get_experiment_by_name("quick").experiment_id
    with mlflow_server(runs, free_port()) as address, open_browser(1500, 1000) as browser:
        browser.get(f"{address}/{view_address(experiment, 'trials')}")
        WebDriverWait(browser, 60).until(lambda b: b.find_elements(By.CSS_SELECTOR, ".ag-row a"))
        for button in browser.find_elements(By.CSS_SELECTOR, "button[aria-label=Close]"):
            button.click()  # notes that MLflow shows on a first visit
        WebDriverWait(browser, 60).until(lambda b: not b.find_elements(By.CSS_SELECTOR, "button[aria-label=Close]"))
        return browser.get_screenshot_as_png()


def _top_of(browser: Chrome, heading: str) -> int:
    found = browser.find_element(By.XPATH, f"//h2[text()='{heading}']")
    return int(browser.execute_script("return arguments[0].getBoundingClientRect().top + scrollY", found))


def _picture(browser: Chrome, clip: dict[str, int]) -> bytes:
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
    return base64.b64decode(shot["data"])


def save(name: str, picture: bytes) -> None:
    path = STUDY.parent / name
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(N_COLOURS).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()
