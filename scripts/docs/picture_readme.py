"""Draws the README's pictures of a searched study: its front, its masks, the terminal.

    scripts/run search --budget 50
    .venv/bin/python scripts/docs/picture_readme.py

Writes `demo_front.png`, `demo_masks.png` (worst and typical masks of all-INT8 and of the fastest point within
a loss of 0.01) and `demo_terminal.svg`.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

from PIL import Image, ImageDraw
from rich.console import Console

from autoprec import Study
from autoprec.records import Picture, TrialRecord
from autoprec.report import front_png, front_table
from autoprec.store import Store
from autoprec.study.findings.inspections import Inspections
from autoprec.study.findings.reporting import gather
from autoprec.study.shipping.picks import choose

ROOT = Path(__file__).resolve().parents[2]
SIDE, GAP, LINE = 160, 6, 18
COLUMNS = ("image", "reference", "candidate", "difference")


def masks(rows: list[tuple[str, Picture]]) -> Image.Image:
    """A sheet with a row for each picture, a column for each layer, and a line of text above each row."""
    width = len(COLUMNS) * (SIDE + GAP) + GAP
    sheet = Image.new("RGB", (width, len(rows) * (SIDE + GAP + LINE) + LINE + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for column, name in enumerate(COLUMNS):
        pen.text((GAP + column * (SIDE + GAP), GAP // 2), name, "black")
    for row, (title, picture) in enumerate(rows):
        top = LINE + row * (SIDE + GAP + LINE)
        pen.text((GAP, top + GAP // 2), f"{title}: IoU {picture.score:.3f} with the reference", "black")
        for column, name in enumerate(COLUMNS):
            if path := getattr(picture, name):
                with Image.open(path) as layer:
                    sheet.paste(
                        layer.convert("RGB").resize((SIDE, SIDE)), (GAP + column * (SIDE + GAP), top + LINE)
                    )
    return sheet


def terminal(study: Study, trials: tuple[TrialRecord, ...]) -> str:
    """The table of `autoprec front` as SVG."""
    console = Console(record=True, width=86, file=io.StringIO())
    with Store.open(study.database, read_only=True) as store:
        console.print(front_table(trials, store.reference(study.spec.name)))
    return console.export_svg(title="autoprec front")


def main() -> None:
    """Gather and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", default=str(ROOT / "studies/demo.toml"))
    parser.add_argument("--max-loss", type=float, default=0.01)
    parser.add_argument("--out", type=Path, default=ROOT / "studies/results")
    options = parser.parse_args()
    study = Study.find(options.study)
    with Store.open(study.database, read_only=True) as store:
        findings = gather(study.spec, store, runs=False)
        assert findings.reference is not None
        best = choose(findings.front, findings.reference, pick="fastest", max_loss=options.max_loss)
        ruined = next(trial for trial in findings.trials if trial.label.startswith("all-int8"))
        looking = Inspections(study.spec, findings.identity, print)
        seen, _ = looking.ensured((ruined, best))
    rows = []
    for title, trial in (("all-INT8", ruined), (f"trial {best.number}", best)):
        assert trial.measurement is not None
        speed = f"{title}, {1 / trial.measurement.latency.ratio:.2f}x"
        pictures = {picture.kind: picture for picture in reversed(seen[trial.number].pictures)}
        rows += [(f"{speed}, {kind}", picture) for kind, picture in sorted(pictures.items(), reverse=True)]
    (options.out / "demo_front.png").write_bytes(front_png(findings))
    masks(rows).save(options.out / "demo_masks.png", optimize=True)
    (options.out / "demo_terminal.svg").write_text(terminal(study, findings.front), encoding="utf-8")


if __name__ == "__main__":
    main()
