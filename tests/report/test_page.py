"""The report page as a browser shows it: everything drawn, no error, no request that leaves the machine."""

import gzip
import hashlib
import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs_version
from selenium.webdriver import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

import sweep.report
from sweep.cli.commands import main
from sweep.plain_text import shorten
from sweep.report.conclusion import conclude
from sweep.report.figures import MAX_NAMED
from sweep.report.files import publish, report_texts
from sweep.report.page import QUERY
from sweep.report.search_figures import draw_search
from sweep.report.searched import LOCAL_UI, build_trials_table, list_searched
from sweep.track.client import open_client
from sweep.track.runs import read_study
from tests.browser import open_browser
from tests.names import FOREIGN, HIDDEN, MARKUP
from tests.studies import FILES, fake_sweep, tiny_table

PHONE = {"width": 360, "height": 780, "deviceScaleFactor": 1, "mobile": True}
PRUNER = {"kind": "halving", "rungs": [1, 2], "reduction_factor": 2}
PLOTLY = Path(sweep.report.__path__[0]) / "plotly"


def open_page(browser, address):
    """Open a report, and wait until its script has drawn it."""
    browser.get(address)
    WebDriverWait(browser, 30).until(lambda b: b.execute_script("return document.body.dataset.drawn"))


@pytest.fixture(scope="module")
def swept(new_runs):
    """A finished study on the fake executor, published."""
    runs = new_runs()
    fake_sweep(
        runs,
        tiny_table(search={"trials": 16, "sampler": "random", "pruner": PRUNER}, confirmation={"replicates": 3}),
        files=FILES,
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
    own = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.findall(rf"""(?:src|href)=["'](?!data:|{LOCAL_UI}/#/experiments/)""", own)


def test_the_page_is_small_and_holds_the_version_of_plotly_that_makes_its_figures(page):
    assert len(page.encode()) < 1_500_000
    assert f"`plotly.js-cartesian-dist-min` {get_plotlyjs_version()} " in " ".join(
        (PLOTLY / "README.md").read_text().split()
    )
    packed = (PLOTLY / "plotly-cartesian.min.js.gz").read_bytes()
    assert hashlib.sha256(gzip.decompress(packed)).hexdigest() in (PLOTLY / "README.md").read_text()


def test_the_table_has_every_trial_with_its_run_its_learning_rate_and_what_varies(swept):
    tracked = read_study(swept, "tiny")
    headings, rows = build_trials_table(tracked)
    assert sorted(row.number for row in rows) == [one.trial.number for one in tracked.searched]
    runs = {one.trial.number: one.run_id for one in tracked.searched}
    assert all(f"/runs/{runs[row.number]}?" in row.address for row in rows)
    assert all(len(row.cells) + 2 == len(headings) for row in rows)
    assert {"State", "Epochs", "Hidden layers", "Units", "Dropout", "Batch size", "Learning rate"} <= set(headings)
    values = [float(row.cells[0]) for row in rows if row.state == "complete"]
    assert values == sorted(values, reverse=True), "the best stands first"
    assert {row.state for row in rows} == {"complete", "pruned"}


def test_history_curves_and_parallel_coordinates_hold_pruned_trials(swept):
    tracked = read_study(swept, "tiny")
    histories = {one.run_id: tracked.files.history(one.run_id) for one in tracked.searched}
    pictures = {picture.title: picture.figures for picture in draw_search(tracked, histories)}
    for title, trials in {
        "Optimisation history": list_searched(tracked),
        "Curves of the search": list_searched(tracked),
        "Parallel coordinates": [one for one in list_searched(tracked) if one.axes],
    }.items():
        [figure] = pictures[title]
        points = [at for trace in figure.data for at in trace.customdata or () if at is not None]
        assert set(points) == {one.number for one in trials}
        assert any(tracked.searched[at].state == "pruned" for at in points)


def test_importances_say_how_many_complete_trials_they_rest_on(swept):
    tracked = read_study(swept, "tiny")
    complete = [one for one in list_searched(tracked) if one.is_complete and one.axes]
    histories = {one.run_id: tracked.files.history(one.run_id) for one in tracked.searched}
    [note] = [one.note for one in draw_search(tracked, histories) if one.title == "Parameter importances"]
    assert f"over {len(complete)} complete trials" in note


def test_the_query_on_the_page_gives_the_runs_that_it_is_made_from(swept, page):
    client = open_client(swept)
    found = client.search_runs([client.get_experiment_by_name("tiny").experiment_id], QUERY)
    assert sorted(run.info.run_id for run in found) == sorted(one.run_id for one in read_study(swept, "tiny").trials)
    assert f"MLflow experiment tiny: {QUERY}".replace("'", "&#39;") in page


def test_a_search_too_small_for_importances_says_so_and_shows_all_other_pictures(swept, monkeypatch):
    monkeypatch.setattr("sweep.report.search_figures.MIN_COMPLETE", 100)
    text = report_texts(conclude(read_study(swept, "tiny")))["report.html"]
    assert "they need 100 complete trials" in text
    for name in ("optimisation-history", "curves-of-the-search", "parallel-coordinates", "slices"):
        assert f'id="figure-{name}-0"' in text
    assert 'id="figure-parameter-importances-0"' not in text


def test_what_a_study_calls_itself_is_text_and_never_markup(swept):
    tracked = read_study(swept, "tiny")
    name = "</script><script>alert(1)</script>"
    trials = [replace(one, trial=replace(one.trial, name=one.trial.name and name)) for one in tracked.trials]
    named = replace(tracked, facts=replace(tracked.facts, name=name), trials=tuple(trials))
    text = report_texts(conclude(named))["report.html"]
    assert "<script>alert(1)" not in text
    assert "&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;</td>" in text, "in the table of trials"


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
        open_page(browser, page_with_classes(swept, tmp_path, [*names, *long]))
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
        open_page(browser, page_with_classes(swept, tmp_path, ["<b>x</b> $y$", "z" * 300, "c"]))
        shown = browser.execute_script(
            "Plotly.Fx.hover('figure-confusion', [{xval: 1, yval: 0}]);"
            "return document.querySelector('#figure-confusion .hoverlayer').textContent"
        )
    assert shown.startswith(f"<b>x</b> $y$, taken for {'z' * 300}: ")


@pytest.mark.slow
def test_more_classes_than_can_be_named_are_numbered_on_a_matrix_as_large_as_the_page(swept, tmp_path):
    with open_browser() as browser:
        open_page(browser, page_with_classes(swept, tmp_path, [f"class {n:03}" for n in range(300)]))
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
        open_page(browser, (swept.reports("tiny") / "report.html").absolute().as_uri())
        drawn = browser.execute_script("return document.querySelectorAll('.plotly-graph-div .main-svg').length")
        widths = browser.execute_script(
            "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
        WebDriverWait(browser, 30).until(
            lambda b: b.execute_script("return [document.documentElement.scrollWidth, innerWidth]") == [360, 360],
            "something is wider than a phone that the page was turned on",
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
    assert min(cells) > 300, "a column of a table is too narrow to read"
    assert errors == []
    asked = [r["params"]["request"]["url"] for r in requests if r["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if url.startswith(("http", "ws", "ftp"))] == []


@pytest.fixture(scope="module")
def address(swept):
    return (swept.reports("tiny") / "report.html").absolute().as_uri()


def column_of(browser, heading):
    """Return the cells of the table of trials that are shown below a heading."""
    return browser.execute_script(
        """const table = document.getElementById("trials");
        const at = [...table.tHead.rows[0].cells].findIndex((cell) => cell.innerText.trim() === arguments[0]);
        return [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.cells[at].innerText)""",
        heading,
    )


def heading_of(browser, heading):
    return browser.find_element("xpath", f"//table[@id='trials']//button[text()='{heading}']")


@pytest.mark.slow
def test_hovers_name_configs_and_the_table_of_trials_sorts_by_click_and_keyboard_and_filters_by_text_and_state(address):
    with open_browser() as browser:
        open_page(browser, address)
        units, rate = column_of(browser, "Units")[0], column_of(browser, "Learning rate")[0]
        best = int(column_of(browser, "Trial")[0])
        hovers = browser.execute_script(
            """return document.getElementById("figure-parallel-coordinates-0").data.flatMap(
            (trace) => trace.text.filter((_, at) => trace.customdata[at] === arguments[0]))""",
            best,
        )
        assert all(f"Units {units} " in hover and f"Learning rate {rate}" in hover for hover in hovers)
        assert hovers
        heading_of(browser, "Dropout").click()
        dropout = [float(cell) for cell in column_of(browser, "Dropout")]
        assert dropout == sorted(dropout)
        heading_of(browser, "Dropout").send_keys(Keys.ENTER)
        assert [float(cell) for cell in column_of(browser, "Dropout")] == sorted(dropout, reverse=True)
        heading_of(browser, "Trial").send_keys(Keys.SPACE)
        assert column_of(browser, "Trial") == [str(n) for n in range(17)], "by number, not by letter"
        sorted_by = browser.find_elements("css selector", "#trials th[aria-sort]")
        assert [(one.text.split()[0], one.get_attribute("aria-sort")) for one in sorted_by] == [("Trial", "ascending")]
        Select(browser.find_element("id", "filter-state")).select_by_visible_text("pruned")
        states = column_of(browser, "State")
        assert set(states) == {"pruned"}
        assert browser.find_element("id", "filter-count").text == f"{len(states)} of 17 trials"
        Select(browser.find_element("id", "filter-state")).select_by_visible_text("all")
        browser.find_element("id", "filter-text").send_keys("by HAND")
        assert column_of(browser, "Origin") == ["by hand"]


@pytest.mark.slow
def test_nothing_is_cut_on_a_phone(address):
    """No cell, line of text or label of a figure reaches beyond the page or out of its figure."""
    outside = """
        const wide = [...document.querySelectorAll("main *")].filter((one) => one.getBoundingClientRect().right > innerWidth + 1
            && !one.closest("svg"));
        const cut = [...document.querySelectorAll("svg text")].filter((text) => {
            const [box, own] = [text.closest("svg"), text].map((one) => one.getBoundingClientRect());
            return own.width && (own.left < box.left - 1 || own.right > box.right + 1 || own.bottom > box.bottom + 1);
        });
        return [...wide, ...cut].map((one) => one.textContent.slice(0, 60))"""
    with open_browser() as browser:
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
        open_page(browser, address)
        assert browser.execute_script(outside) == []


@pytest.mark.slow
def test_all_text_stands_out_and_every_control_has_a_name(address):
    """A stand-in for axe-core: contrast of at least 4.5 to 1 (WCAG 2.1, 1.4.3) and names in the accessibility tree (4.1.2)."""
    texts = """
        const colours = new Set();
        const backdrop = (one) => {
            for (; one; one = one.parentElement) {
                const colour = getComputedStyle(one).backgroundColor;
                if (colour !== "rgba(0, 0, 0, 0)") return colour;
            }
            return "rgb(255, 255, 255)";
        };
        for (const one of document.querySelectorAll("main *:not(svg *)"))
            if ([...one.childNodes].some((child) => child.nodeType === 3 && child.data.trim()))
                colours.add(getComputedStyle(one).color + "|" + backdrop(one));
        for (const text of document.querySelectorAll("svg .xtick text, svg .ytick text, svg .legendtext, svg .xtitle"))
            colours.add(getComputedStyle(text).fill + "|rgb(255, 255, 255)");
        return [...colours]"""
    with open_browser() as browser:
        open_page(browser, address)
        pairs = [
            [list(map(int, re.findall(r"\d+", one)))[:3] for one in pair.split("|")]
            for pair in browser.execute_script(texts)
        ]
        tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        headings = browser.execute_script(
            "return [...document.querySelectorAll('h1, h2, h3')].map((one) => +one.tagName[1])"
        )
    assert len(pairs) > 3
    assert {str(pair): contrast(*pair) for pair in pairs if contrast(*pair) < 4.5} == {}
    controls = ("button", "link", "searchbox", "combobox", "region", "image")
    named = [
        (node["role"]["value"], node["name"]["value"]) for node in tree if node.get("role", {}).get("value") in controls
    ]
    assert {role for role, _ in named} == set(controls)
    assert [one for one in named if not one[1].strip()] == []
    assert all(below - above <= 1 for above, below in itertools.pairwise(headings)), "no level is left out"


def contrast(first, second):
    """Return the contrast of two colours (0 to 255 each of red, green, blue) by WCAG 2.1."""
    low, high = sorted(map(luminance, (first, second)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
