"""The report is one file that needs nothing else, and takes nothing in the data for markup."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from autoprec.records import (
    Assignment,
    Block,
    Findings,
    Inspection,
    KernelTime,
    Picture,
    TrialRecord,
)
from autoprec.report import front_png, page
from autoprec.report.page.charts import progress_chart
from autoprec.report.page.costs import cost_curves
from autoprec.report.page.graph import block_graph
from autoprec.study.findings.explanation import Explainer
from trial_records import REFERENCE, complete, failed, findings

NASTY = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Elements(HTMLParser):
    """All elements with their attributes, as a browser's parser would find them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.started: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.started.append((tag, dict(attrs)))


def trial(number: int, names: list[str], random: np.random.Generator) -> TrialRecord:
    """A measured trial of random choices: more INT8 is faster, and loses more."""
    choices = tuple((name, str(random.choice(["fp32", "fp16", "int8", "int8+smooth"]))) for name in names)
    share = sum(precision.startswith("int8") for _, precision in choices) / len(choices)
    latency = 10 - 6 * share + random.random()
    record = complete(number, latency, 0.2 * share**3 * (0.5 + random.random()))
    return msgspec.structs.replace(record, assignment=Assignment(choices=choices))


def study(trials: int, blocks: int, folder: Path, *, name: str = "block") -> Findings:
    """A study of random trials whose front is explained and, at its end, drawn."""
    random = np.random.default_rng(0)
    names = [f"{name}{number}" for number in range(blocks)]
    records = [trial(number, names, random) for number in range(trials)]
    records[0] = msgspec.structs.replace(records[0], label="all-fp16")
    listed = tuple(
        Block(
            name=block,
            nodes=(f"node{block}",),
            inputs=(
                f"v{place}",
                *(("v1",) if place > 2 else ()),
            ),  # all but the next read the first one's, too
            outputs=(f"v{place + 1}",),
        )
        for place, block in enumerate(names)
    )
    usual = Inspection(
        kernels=tuple(
            KernelTime(nodes=b.nodes, kernel="k", precision="f16", time_ms=float(random.random()))
            for b in listed
        )
    )
    explainer = Explainer(listed, records, REFERENCE, base="fp32", sensitivity={}, usual=usual)
    contents = findings(
        [*records, failed(trials)],
        study=name,
        blocks=listed,
        sensitivity={block: {"int8": float(random.random())} for block in names},
    )
    explanations = {record.number: explainer.explain(record, usual) for record in contents.front}
    inspections = {
        contents.front[-1].number: Inspection(kernels=usual.kernels, pictures=(picture(folder, name),))
    }
    return msgspec.structs.replace(contents, explanations=explanations, inspections=inspections)


def picture(folder: Path, name: str) -> Picture:
    paths = {kind: folder / f"{kind}.webp" for kind in ("image", "reference", "candidate", "difference")}
    for path in paths.values():
        Image.new("RGB", (16, 16), "teal").save(path)
    image, reference, candidate, difference = map(str, paths.values())
    return Picture(
        sample=f"{name}.jpg",
        mask=1,
        iou=0.25,
        kind="worst",
        image=image,
        reference=reference,
        candidate=candidate,
        difference=difference,
    )


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page(study(20, 5, tmp_path_factory.mktemp("nasty"), name=NASTY))


def test_nothing_is_fetched(nasty: str) -> None:
    elements = Elements(nasty).started
    policies = [a["content"] for tag, a in elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies
    assert "default-src 'none'" in str(policies[0])
    addresses = [str(a[key]) for _, a in elements for key in ("src", "href") if key in a]
    assert addresses
    assert all(address.startswith(("#", "data:image/webp;base64,")) for address in addresses)
    assert not [tag for tag, _ in elements if tag in ("link", "iframe", "object", "base")]


def test_a_name_that_is_a_script_is_shown_and_not_run(nasty: str) -> None:
    elements = Elements(nasty).started
    assert [tag for tag, _ in elements].count("script") == 3, "the data, the library and ours"
    assert not [a for _, a in elements if "onerror" in a]
    assert "&lt;/script&gt;" in nasty


def test_the_graph_shows_every_block_with_its_edges_and_casts(tmp_path: Path) -> None:
    page_findings = study(30, 6, tmp_path)
    graph = block_graph(page_findings)
    assert graph is not None
    chosen = next(t for t in page_findings.front if t.number == page_findings.picked).assignment.as_dict()
    assert [(row.name, row.whole) for row in graph.rows] == list(chosen.items())
    titles = [edge.title.partition(",")[0] for edge in graph.edges]
    following = [f"block{place} \u2192 block{place + 1}" for place in range(5)]
    assert sorted(titles) == sorted([*following, *(f"block0 \u2192 block{place}" for place in (3, 4, 5))])
    casts = [edge.cast for edge in graph.edges]
    floats = [("fp16" if chosen[name] == "fp16" else "fp32") for name in chosen]
    assert [bool(cast) for cast in casts] == [
        floats[int(title[5])] != floats[int(title[-1])] for title in titles
    ]
    text = page(page_findings)
    assert text.count('class="cast"') == sum(map(bool, casts))
    assert text.count('class="box"') == 6


def test_edges_that_pass_rows_do_not_share_a_lane_with_others(tmp_path: Path) -> None:
    page_findings = study(10, 6, tmp_path)
    reads = {"block2": ("v1", "v2"), "block4": ("v3", "v4"), "block5": ("v2", "v5")}  # 1 to 5 is over 2 to 4
    blocks = tuple(
        msgspec.structs.replace(b, inputs=reads.get(b.name, (f"v{place}",)))
        for place, b in enumerate(page_findings.blocks)
    )
    graph = block_graph(msgspec.structs.replace(page_findings, blocks=blocks))
    assert graph is not None
    lanes = {edge.title[:6]: edge.cast_at[0] for edge in graph.edges if not edge.is_down}
    assert lanes["block0"] != lanes["block1"] != lanes["block2"]


def test_each_block_has_a_curve_of_what_precisions_cost_it(tmp_path: Path) -> None:
    page_findings = study(30, 4, tmp_path)
    usual = {block.block: block.usual for block in next(iter(page_findings.explanations.values())).blocks}
    name = next(block for block, precision in usual.items() if precision.startswith("fp"))
    changed = Assignment(choices=tuple((usual | {name: "int8+smooth"}).items()))
    single = msgspec.structs.replace(complete(99, 9.0, 0.25), assignment=changed)
    curves = cost_curves(msgspec.structs.replace(page_findings, trials=(*page_findings.trials, single)))
    points = {point.whole: point for point in next(c for c in curves if c.block == name).points}
    assert (points["int8+smooth"].loss, points["int8+smooth"].is_whole) == ("0.2500", True)
    assert not points["int8"].is_whole
    assert list(points) == [usual[name], "int8", "int8+smooth"]
    assert points[usual[name]].x < points["int8+smooth"].x


def test_a_night_begins_at_its_first_trial_whatever_the_clock_said() -> None:
    told = findings([complete(number, 1.0 + number, 0.1) for number in range(6)])
    first = told.nights[0]
    earlier = msgspec.structs.replace(first, start="2025-01-01T00:00:00+00:00", first=4, trials=2)
    chart = progress_chart(msgspec.structs.replace(told, nights=(first, earlier)))
    assert [layer["data"] for layer in chart["layer"] if "y" not in layer["encoding"]] == [
        {"values": [{"trial": 4, "night": "night 2"}]}
    ] * 2


def test_a_long_night_fits_five_megabytes(tmp_path: Path) -> None:
    page_findings = study(500, 40, tmp_path)
    text = page(page_findings)
    assert len(text.encode()) < 5e6
    assert text.count("<details id=") == len(page_findings.front)


@pytest.mark.parametrize("trials", [[], [failed(0)], [complete(0, 5.0, 0.0)]], ids=["none", "failed", "one"])
def test_a_night_that_found_little_has_a_report_too(trials: list[TrialRecord]) -> None:
    text = page(findings(trials))
    assert ("No trial is complete yet" in text) == (not any(t.measurement for t in trials))
    assert ("no kernel for Conv" in text) == any(t.failure for t in trials)


def test_a_picture_that_is_gone_is_left_out(tmp_path: Path) -> None:
    page_findings = study(10, 3, tmp_path)
    assert page(page_findings).count("data:image/webp") == 4
    (tmp_path / "difference.webp").unlink()
    assert page(page_findings).count("data:image/webp") == 3


def test_the_front_alone_is_a_picture() -> None:
    data = front_png(findings([complete(0, 5.0, 0.0), complete(1, 4.0, 0.1)]))
    assert data.startswith(b"\x89PNG")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
@pytest.mark.parametrize("width", [500, 768, 1440])
def test_a_browser_draws_every_chart_and_runs_nothing_else(nasty: str, width: int, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    told = """<script>setInterval(() => { const page = document.documentElement;
        const tables = [...document.querySelectorAll('.stacks')].map((t) => t.parentElement);
        page.dataset.cut = tables.filter((t) => t.scrollWidth > t.clientWidth).length;
        page.dataset.widths = `${innerWidth} ${page.scrollWidth}`; }, 100)</script>"""
    file = tmp_path / "report.html"
    file.write_text(nasty + told)
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    command += [f"--window-size={width},800", "--virtual-time-budget=20000", "--dump-dom", file.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100).stdout
    head = dom[:2000]
    assert 'data-drawn="5"' in head
    inner, whole = map(int, re.findall(r'data-widths="(\d+) (\d+)"', head)[0])
    assert whole <= inner == width, "the page must not scroll sideways"
    assert 'data-cut="0"' in head, "no row of a table may be cut"
    assert "<title>owned" not in dom
    assert dom.count('class="marks"') == 5


def test_the_tiles_quote_no_lucky_measurement() -> None:
    lucky, again = complete(1, 2.0, 0.005), complete(2, 6.0, 0.005, origin="finalist")
    text = page(findings([lucky, again]))
    assert "fastest within a loss of 0.01 (trial 2)</dt><dd>2.50x" in text
    assert "5.00x" not in text
