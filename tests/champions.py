"""Export and register champions without converting a model."""

from collections.abc import Sequence
from pathlib import Path

from sweep.champion.bundle import Parity
from sweep.champion.export import Exported, export
from sweep.champion.registry import register
from sweep.data.columns import Column
from sweep.data.prepared import PreparedData
from sweep.layout import RunsDir
from sweep.report.conclusion import Conclusion, conclude
from sweep.track.runs import read_study
from tests.faults.engine import FILES as FILES


def fake_convert(
    model: Path, onnx: Path, data: PreparedData | None, columns: Sequence[Column], log: Path | None = None
) -> Parity:
    """Write a file that is no ONNX model, for bundles that are never asked to predict."""
    onnx.write_bytes(b"onnx of " + model.read_bytes())
    return Parity(1000, 0, 0.0)


def hand_on(conclusion: Conclusion) -> Exported:
    """Export and register the champion, as the commands do."""
    exported = export(conclusion, fake_convert)
    register(conclusion, exported)
    return exported


def champion_handed_on(runs: RunsDir, name: str = "tiny") -> tuple[Conclusion, Exported]:
    """Conclude a study, export and register its champion; return both."""
    conclusion = conclude(read_study(runs, name))
    return conclusion, hand_on(conclusion)
