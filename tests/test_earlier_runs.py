"""Runs directories of earlier versions stay readable: sound, reported to the byte, continued, their bundles verified.

Each archive in `earlier_runs/` is a runs directory of the tiny study (`tests/bundles.py`), made by the version of its date,
with its report in `expected/`; prepared data, lock files and the large page were left out.
"""

import re
import tarfile
from dataclasses import replace
from functools import partial

import pytest

from sweep.champion.verify import verify
from sweep.coordinator import Job, run_study, sync_study
from sweep.data.files import read
from sweep.data.prepared import prepare
from sweep.doctor import Remedy, diagnose
from sweep.layout import RunsDir
from sweep.report.conclusion import conclude
from sweep.report.files import report_texts
from sweep.study.file import parse_study
from sweep.track.runs import read_study
from sweep.trial import Phase
from tests.bundles import score_by_hand
from tests.studies import FILES, ROOT, fake_runtime, tiny_table, write_tiny_data

ARCHIVES = sorted((ROOT / "tests" / "earlier_runs").glob("*.tar.xz"))


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.name.split(".")[0])
def earlier(request, tmp_path):
    """An earlier version's runs directory, unpacked beside the data it was made of."""
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    write_tiny_data(tmp_path)
    return RunsDir(tmp_path / "mlruns")


def job(runs, **changes):
    table = tiny_table(**changes)
    study = parse_study(table, "tiny.toml")
    data = prepare(read(study.data, runs.root.parent), study.data, study.seed, runs.data_cache)
    return Job(study=study, table=table, data=data, runs=runs)


def keys_trained(asked):
    """Run a study; the keys of the trials that were trained."""
    started = []
    runtime = fake_runtime(
        asked.study, files=FILES, watch=lambda trial, event: started.append(trial) if event is None else None
    )
    run_study(asked, replace(runtime, score=partial(score_by_hand, data=asked.data)))
    return started


def test_it_is_sound(earlier):
    diagnosis = diagnose(job(earlier))
    assert diagnosis.findings == []
    assert diagnosis.n_trials == diagnosis.n_runs > 8


def without_what_is_said_since(text):
    """Leave out what reports say since: of the epochs that a search has spent, in Markdown a section, in JSON a list; of a dummy."""
    text = re.sub(r"^\| .* of a dummy \|.*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"The dummy is the floor, .*\n\n", "", text)
    text = re.sub(r"## What the search has spent\n.*?\n(?=## )", "", text, flags=re.DOTALL)
    return re.sub(r'^ "spent": \[.*?^ \],\n', "", text, flags=re.DOTALL | re.MULTILINE)


def test_its_report_has_the_bytes_that_it_had_beside_what_is_said_since(earlier):
    texts = report_texts(conclude(read_study(earlier, "tiny")))
    expected = sorted((earlier.root / "expected").iterdir())
    assert [path.name for path in expected] == ["conclusion.csv", "conclusion.json", "conclusion.md"]
    for path in expected:
        assert without_what_is_said_since(texts[path.name]).encode() == path.read_bytes()


def test_the_same_study_trains_and_tracks_nothing(earlier):
    sync_study(job(earlier))  # writes the study anew where its folder lies now
    before = read_study(earlier, "tiny")
    assert keys_trained(job(earlier)) == []
    assert read_study(earlier, "tiny").trials == before.trials


def test_more_trials_continue_it(earlier):
    n_before = len(read_study(earlier, "tiny").searched)
    search = {**tiny_table()["search"], "trials": 7}
    started = keys_trained(job(earlier, search=search))
    assert sum(trial.phase == Phase.SEARCH for trial in started) == 3
    assert len(read_study(earlier, "tiny").searched) == n_before + 3
    found = diagnose(job(earlier, search=search)).findings
    assert {finding.remedy for finding in found} <= {Remedy.REPORT}, "the champion may be another one now"


def test_its_bundle_verifies(earlier):
    line = verify(earlier.exports("tiny"), earlier.root.parent / "tiny.npz")
    assert line.startswith(
        "verified: 10 files are what SHA256SUMS says; 100 of 100 test rows are classified as recorded"
    )
