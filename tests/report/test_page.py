"""The report page as a browser shows it: everything drawn, no error, no request that leaves the machine."""

import json
import re
from dataclasses import replace

import pytest

from sweep.cli.commands import main
from sweep.plain_text import shorten
from sweep.report.conclusion import conclude
from sweep.report.figures import MAX_NAMED
from sweep.report.files import publish, report_texts
from sweep.report.page import QUERY
from sweep.track.client import open_client
from sweep.track.runs import read_study
from tests.browser import open_browser
from tests.names import FOREIGN, HIDDEN, MARKUP
from tests.studies import FILES, fake_sweep, tiny_table

PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}


@pytest.fixture(scope="module")
def swept(new_runs):
    """A finished study on the fake executor, published."""
    runs = new_runs()
    fake_sweep(
        runs, tiny_table(search={"trials": 16, "sampler": "random"}, confirmation={"replicates": 3}), files=FILES
    )
    publish(conclude(read_study(runs, "tiny")))
    return runs


@pytest.fixture(scope="module")
def page(swept):
    return (swept.reports("tiny") / "report.html").read_text()


def test_the_page_holds_every_section_and_names_nothing_outside_itself(page):
    for heading in (
        "Selected by validation", "Baselines", "What can be told apart", "Learning curves of the finalists",
        "Accuracy against cost", "What the champion gets wrong", "Images that most replicates get wrong",
        "Optimisation history", "Parameter importances", "Parallel coordinates", "Slices", "Cost", "Provenance",
    ):  # fmt: skip
        assert f">{heading}</h" in page
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", own)


def test_the_query_on_the_page_gives_the_runs_that_it_is_made_from(swept, page):
    client = open_client(swept)
    found = client.search_runs([client.get_experiment_by_name("tiny").experiment_id], QUERY)
    assert sorted(run.info.run_id for run in found) == sorted(one.run_id for one in read_study(swept, "tiny").trials)
    assert f"MLflow experiment tiny: {QUERY}".replace("'", "&#39;") in page


def test_a_search_that_is_too_small_for_pictures_says_so(swept, monkeypatch):
    monkeypatch.setattr("sweep.report.search_figures.MIN_COMPLETE", 100)
    text = report_texts(conclude(read_study(swept, "tiny")))["report.html"]
    assert "they need 100 complete trials" in text
    assert "Optimisation history" not in text


def test_what_a_study_calls_itself_is_text_and_never_markup(swept):
    tracked = read_study(swept, "tiny")
    named = replace(tracked, facts=replace(tracked.facts, name="<script>alert(1)</script>"))
    text = report_texts(conclude(named))["report.html"]
    assert "<script>alert(1)</script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def page_with_classes(swept, tmp_path, classes):
    """Write the page of the study as if its three classes, and more that no row has, were called so."""
    tracked = read_study(swept, "tiny")
    named = replace(tracked, facts=replace(tracked.facts, classes=tuple(classes)))
    path = tmp_path / "report.html"
    path.write_text(report_texts(conclude(named))["report.html"], encoding="utf-8")
    return path.absolute().as_uri()


def labels_of(browser, axis):
    found = f"return [...document.querySelectorAll('#figure-confusion .{axis}tick text')].map(text => text.textContent)"
    return browser.execute_script(found)


@pytest.mark.slow
def test_a_browser_shows_names_of_classes_as_they_are(swept, tmp_path):
    long = ["the quick brown fox jumps over it", "the quick brown fox leaps over it"]
    hidden = {name: shown for name, shown in HIDDEN.items() if "\0" not in name}
    names = [*MARKUP[:24], *FOREIGN, *hidden][: MAX_NAMED - 2]
    with open_browser() as browser:
        browser.get(page_with_classes(swept, tmp_path, [*names, *long]))
        wanted = [*(HIDDEN.get(name, name) for name in names), f"#{len(names)}", f"#{len(names) + 1}"]
        assert labels_of(browser, "x") == labels_of(browser, "y") == [shorten(label) for label in wanted]
        marked = "return document.querySelectorAll('#figure-confusion .xtick text *, #figure-confusion .ytick text *').length"
        assert browser.execute_script(marked) == 0
        rows = {
            row.find_element("tag name", "th").text: row.find_element("tag name", "td").text
            for row in browser.find_elements("css selector", ".facts tr")
        }
        assert {label: rows[label] for label in wanted[-2:]} == dict(zip(wanted[-2:], long, strict=True))
        errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert errors == []


@pytest.mark.slow
def test_a_cell_says_in_whole_names_what_it_counts(swept, tmp_path):
    with open_browser() as browser:
        browser.get(page_with_classes(swept, tmp_path, ["<b>x</b> $y$", "z" * 300, "c"]))
        shown = browser.execute_script(
            "Plotly.Fx.hover('figure-confusion', [{xval: 1, yval: 0}]);"
            "return document.querySelector('#figure-confusion .hoverlayer').textContent"
        )
    assert shown.startswith(f"<b>x</b> $y$, taken for {'z' * 300}: ")


@pytest.mark.slow
def test_more_classes_than_can_be_named_are_numbered_on_a_matrix_as_large_as_the_page(swept, tmp_path):
    with open_browser() as browser:
        browser.get(page_with_classes(swept, tmp_path, [f"class {n:03}" for n in range(300)]))
        assert labels_of(browser, "x") == ["0", "50", "100", "150", "200", "250"]
        assert browser.execute_script("return document.querySelector('#figure-confusion').clientHeight") == 1000


def test_a_check_says_which_file_is_not_what_the_runs_give(swept, study_file, capsys):
    command = ["report", str(study_file), "--runs-dir", str(swept.root), "--check"]
    assert main(command) == 0
    path = swept.reports("tiny") / "conclusion.csv"
    good = path.read_bytes()
    path.write_bytes(good + b"more\n")
    assert main(command) == 1
    assert str(path) in capsys.readouterr().err
    assert path.read_bytes() == good + b"more\n"
    path.write_bytes(good)


@pytest.mark.slow
def test_a_browser_draws_every_figure_without_an_error_or_a_request(swept, tmp_path):
    with open_browser() as browser:
        browser.get((swept.reports("tiny") / "report.html").absolute().as_uri())
        drawn = browser.execute_script("return document.querySelectorAll('.plotly-graph-div .main-svg').length")
        widths = browser.execute_script(
            "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
        phone_widths = browser.execute_script(
            "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        cells = browser.execute_script(
            "return [...document.querySelectorAll('.facts td')].map(cell => cell.clientWidth)"
        )
        heading = browser.find_element("tag name", "h1").text
        broken = browser.execute_script("return [...document.images].filter(image => !image.naturalWidth).length")
        errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        requests = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    assert heading == "tiny"
    assert drawn >= 7
    assert broken == 0
    assert widths[0] == widths[1], "something is wider than the page"
    assert phone_widths == [390, 390]
    assert min(cells) > 300, "a column of a table is too narrow to read"
    assert errors == []
    asked = [r["params"]["request"]["url"] for r in requests if r["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if url.startswith(("http", "ws", "ftp"))] == []
