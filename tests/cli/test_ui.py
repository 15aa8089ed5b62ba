"""MLflow's UI and optuna-dashboard, as a browser shows a finished study."""

import json
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from sweep.layout import RunsDir
from sweep.report.conclusion import conclude
from sweep.report.files import publish
from sweep.report.upload import upload
from sweep.track.client import open_client
from sweep.track.runs import read_study
from sweep.track.views import models_address, run_address, view_address
from tests.browser import open_browser
from tests.servers import free_port, http_status, mlflow_server
from tests.studies import FILES, ROOT, fake_sweep, tiny_table

pytestmark = pytest.mark.slow

# Errors that MLflow's own pages log on every visit: it asks for a user, who exists only behind a log-in, and a resize comes late.
MLFLOWS_OWN = re.compile(r"/ajax-api/2\.0/mlflow/users/current|ResizeObserver loop")


@pytest.fixture(scope="module")
def finished(migrated, tmp_path_factory):
    """Run the tiny study, report it and show the report in MLflow."""
    runs = RunsDir(tmp_path_factory.mktemp("finished") / "mlruns")
    shutil.copytree(migrated.root, runs.root)
    fake_sweep(runs, tiny_table(search={"trials": 12}), files=FILES)
    conclusion = conclude(read_study(runs, "tiny"))
    publish(conclusion)
    upload(conclusion)
    return runs, conclusion


@pytest.fixture(scope="module")
def mlflow(finished):
    """Open a browser and serve MLflow's UI; yield the browser, the address and the study's experiment id."""
    runs, _ = finished
    with open_browser(1600, 1000) as browser, mlflow_server(runs, free_port()) as address:
        yield browser, address, open_client(runs).get_experiment_by_name("tiny").experiment_id
        errors = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        requests = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
        asked = {r["params"]["request"]["url"] for r in requests if r["method"] == "Network.requestWillBeSent"}
    assert [message for message in errors if not MLFLOWS_OWN.search(message)] == []
    assert [url for url in asked if url.startswith(("http", "ws")) and not url.startswith(address)] == []


def texts(browser, selector):
    return [element.text for element in browser.find_elements(By.CSS_SELECTOR, selector)]


def wait_for(browser, condition):
    return WebDriverWait(browser, 30, 0.1, [StaleElementReferenceException]).until(lambda b: condition(b))


def text_of(browser):
    return browser.find_element(By.TAG_NAME, "body").text


def test_the_trials_are_listed_best_first_with_what_matters_of_each(finished, mlflow):
    (_, conclusion), (browser, address, experiment) = finished, mlflow
    browser.get(f"{address}/{view_address(experiment, 'trials')}")
    found = conclusion.tracked.searched
    ranked = [one for one in found if "settled_val_accuracy" in one.metrics]
    best = sorted(ranked, key=lambda one: -one.metrics["settled_val_accuracy"])[:3]
    names = wait_for(browser, lambda b: [t for t in texts(b, ".ag-row a") if " · drop " in t])
    assert [int(name.split(" · ")[0]) for name in names[:3]] == [one.trial.number for one in best]
    heads = texts(browser, ".ag-header-cell-text, .ag-header-cell")
    assert any(head.startswith("settled_val_accuracy") for head in heads)
    assert f"{len(found)} matching runs" in text_of(browser)
    assert conclusion.champion.finalist.config.units_label in text_of(browser), "the description names the champion"


def test_curves_of_trials_are_drawn_over_one_another(mlflow):
    browser, address, experiment = mlflow
    browser.get(f"{address}/{view_address(experiment, 'trials', with_curves=True)}")
    lines = "return document.querySelector('.js-plotly-plot')?.data?.length"
    assert wait_for(browser, lambda b: b.execute_script(lines) or 0) >= 10
    assert "epoch/val_accuracy" in text_of(browser)


def test_trials_and_replicates_lie_below_the_parent_run(mlflow):
    browser, address, experiment = mlflow
    browser.get(
        f"{address}/#/experiments/{experiment}/runs?workflowType=machine_learning&searchFilter=&orderByKey=attributes.start_time"
    )
    wait_for(browser, lambda b: "tiny" in texts(b, ".ag-row a"))
    assert not [name for name in texts(browser, ".ag-row a") if " · " in name]
    browser.find_element(By.CSS_SELECTOR, ".ag-row .ag-cell button").click()
    names = wait_for(browser, lambda b: [t for t in texts(b, ".ag-row a") if " · " in t])
    assert any(" · drop " in name for name in names) or any("replicate" in name for name in names)


def test_the_parent_run_says_the_conclusion_and_holds_the_report(finished, mlflow):
    (_, conclusion), (browser, address, experiment) = finished, mlflow
    parent = conclusion.tracked.parent_run_id
    browser.get(f"{address}/{run_address(experiment, parent)}")
    wait_for(browser, lambda b: "Show more" in text_of(b))
    browser.find_element(By.XPATH, "//*[text()='Show more']").click()
    heads = wait_for(browser, lambda b: [t for t in texts(b, "th") if t == "Best with two hidden layers"])
    assert len(heads) == 1
    assert conclusion.verdicts[0].text in text_of(browser)
    browser.get(f"{address}/{run_address(experiment, parent, 'report/report.html')}")
    frame = wait_for(browser, lambda b: b.find_elements(By.TAG_NAME, "iframe"))
    browser.switch_to.frame(frame[0])
    assert wait_for(browser, lambda b: texts(b, "h1")) == ["tiny"]
    drawn = "return document.querySelectorAll('.plotly-graph-div .main-svg').length"
    assert wait_for(browser, lambda b: b.execute_script(drawn) >= 7)
    browser.switch_to.default_content()


def test_models_are_listed_with_their_metrics(finished, mlflow):
    (runs, conclusion), (browser, address, experiment) = finished, mlflow
    browser.get(f"{address}/{models_address(experiment)}")
    wait_for(browser, lambda b: [t for t in texts(b, ".ag-row a") if t.startswith("mlp-")])
    models = open_client(runs).search_logged_models([experiment])
    complete = [one for one in conclusion.tracked.trials if one.state != "failed"]
    assert len(models) == len(complete)
    assert all("val_accuracy" in {metric.key for metric in model.metrics} for model in models)


@contextmanager
def dashboard(runs, port):
    """Start `python -m sweep dashboard` on `runs`; yield its address once it answers."""
    command = [sys.executable, "-m", "sweep", "dashboard", "--runs-dir", str(runs.root), "--port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        assert "Ctrl-C ends it" in server.stderr.readline()
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.communicate()


def test_the_dashboard_shows_a_search_and_cannot_change_it(finished, unused_port):
    runs, conclusion = finished
    before = runs.optuna_db.read_bytes()
    with dashboard(runs, unused_port) as address, open_browser() as browser:
        assert http_status(unused_port, "10.evil.com") == 403
        for method, path in (("DELETE", "/api/studies/1"), ("POST", "/api/studies"), ("PUT", "/api/studies/1/note")):
            request = urllib.request.Request(address + path, b"{}", {"Content-Type": "application/json"}, method=method)
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(request, timeout=10)
        browser.get(f"{address}/dashboard/studies/1")
        drawn = "return document.querySelectorAll('.main-svg').length"
        assert wait_for(browser, lambda b: b.execute_script(drawn) >= 3)
        browser.get(f"{address}/dashboard/studies/1/trials")
        wait_for(browser, lambda b: f"{len(conclusion.tracked.searched)} Trials" in text_of(b))
        assert '"phase": "baseline"' in text_of(browser)
        assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert runs.optuna_db.read_bytes() == before
