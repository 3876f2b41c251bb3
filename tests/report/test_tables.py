"""Tables, plot and JSON say what was measured, in any width, and take nothing in the data for markup."""

from __future__ import annotations

import io
import json
import math

import msgspec
import pytest
from rich.console import Console, RenderableType
from rich.text import Text

from autoprec.backends.clocks import clock_of
from autoprec.records import Block, BlockAudit, Fingerprint, Reference, TrialRecord
from autoprec.report import (
    Column,
    Columns,
    as_json,
    blocks_table,
    front_plot,
    front_table,
    next_steps,
    sensitivity_table,
    trial_view,
)
from trial_records import BLOCKS, complete, failed, running

NASTY = "[bold red]x[/] [/] \\["
REFERENCE = Reference(
    precision="fp16", model_digest="r", latency_ms=10, latency_noise=0.02, loss_noise=0.001, float_loss=0.001
)
FRONT = (
    complete(3, 5.0, 0.3, choices="int8 int8"),
    complete(7, 8.0, 0.01, choices="int8 fp16"),
    complete(8, 8.1, 0.0095, choices="fp16 int8"),
    complete(9, 12.0, 0.0, choices="fp32 fp32"),
)


def shown(view: RenderableType, width: int = 160) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(view)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def line_of(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.strip().startswith(start))


def audited(record: TrialRecord, *audits: BlockAudit) -> TrialRecord:
    assert record.measurement is not None
    return msgspec.structs.replace(
        record, measurement=msgspec.structs.replace(record.measurement, audit=audits)
    )


@pytest.mark.parametrize("width", [60, 80, 160])
def test_everything_fits_its_width(width: int) -> None:
    views = (
        blocks_table(BLOCKS),
        front_table(FRONT, REFERENCE),
        trial_view(FRONT[1], BLOCKS),
        front_plot(FRONT, REFERENCE, width),
    )
    for view in views:
        assert all(len(line) <= width for line in shown(view, width).splitlines())


def test_columns_without_room_are_named() -> None:
    columns = Columns(
        (Column("block", ["a" * 30]), Column("ms", ["1.234"], 2), Column("sure", ["measured"], 1))
    )
    assert "left out" not in shown(columns, 60)
    assert line_of(shown(columns, 42), "left out") == "left out at this width: ms"
    assert line_of(shown(columns, 32), "left out") == "left out at this width: sure, ms"


@pytest.mark.parametrize("width", [60, 160])
def test_a_narrow_front_keeps_what_matters(width: int) -> None:
    line = line_of(shown(front_table(FRONT, REFERENCE), width), "7 ")
    assert all(figure in line for figure in ("8.000", "1.25x", "0.0100", "int8×1"))
    assert ("0.900" in line) == (width == 160)


def test_ties_within_the_noise_are_marked() -> None:
    text = shown(front_table(FRONT, REFERENCE))
    assert line_of(text, "8 ").count("≈") == 2
    assert line_of(text, "7 ").count("≈") == line_of(text, "9 ").count("≈") == 0
    assert "latency 2.0 %, loss 0.0010" in text
    exact = msgspec.structs.replace(REFERENCE, latency_noise=0.0, loss_noise=0.0, float_loss=0.0)
    assert "≈" not in shown(front_table(FRONT, exact))
    told = msgspec.structs.replace(exact, float_loss=0.01)
    assert "≈" in shown(front_table(FRONT, told)), "what floats differ by is noise of the metric"


def test_losses_within_what_fp32_and_the_reference_differ_are_ties() -> None:
    floats = msgspec.structs.replace(REFERENCE, latency_noise=0.0, loss_noise=0.0, float_loss=0.02)
    text = shown(front_table(FRONT, floats))
    assert "≈" in line_of(text, "8 ")
    assert "0.0200 between FP32 and the reference" in text
    assert "0.0200 of it may be noise" in shown(trial_view(FRONT[0], (), floats))


def test_tables_say_what_a_latency_is() -> None:
    fingerprint = Fingerprint(backend="openvino", version="", device="", options='{"threads": 4}')
    assert clock_of(fingerprint) == "wall time on 4 threads"
    told = front_table(FRONT, REFERENCE, clock=clock_of(fingerprint))
    assert "latency: wall time on 4 threads" in shown(told)
    there = Fingerprint(backend="target", version="OpenVINO 2026.1", device="", options="{}")
    assert "ms of processor time on one thread," in shown(trial_view(FRONT[0], (), clock=clock_of(there)))
    gpu = Fingerprint(backend="target", version="TensorRT 10.3", device="")
    assert clock_of(gpu) == "time on the GPU, without copies"
    assert clock_of(msgspec.structs.replace(gpu, backend="a-new-one")) == "wall time", (
        "nothing is known of its device"
    )


def test_what_is_slower_than_the_reference_is_told() -> None:
    assert line_of(shown(front_table(FRONT, REFERENCE)), "9 ").rstrip().endswith("slower")
    assert "slower" not in shown(front_table(FRONT[:3], REFERENCE))


def test_beaten_anchors_stand_below_the_front_and_picks_are_marked() -> None:
    anchor = msgspec.structs.replace(complete(1, 9.0, 0.2, choices="bf16 bf16"), label="all-bf16")
    picks = {"knee": FRONT[1], "fastest": FRONT[1]}
    for width in (60, 80, 160):
        text = shown(
            front_table(FRONT, REFERENCE, (*FRONT, anchor, complete(4, 9.5, 0.4)), picks, 0.01), width
        )
        beaten = line_of(text, "1 ")
        assert "all-bf16" in beaten
        assert "beaten" in text[text.index("all-bf16") :]
        assert text.index("12.00") < text.index("all-bf16"), "below the front"
        row = text[text.index("8.000") : text.index("8.100")]
        assert "knee" in row
        assert "fastest" in row
        assert "fastest: within the accepted loss of 0.01" in text
        assert "9.500" not in text, "it is neither on the front nor an anchor"


def test_an_empty_front_says_why() -> None:
    assert "no trial has been measured yet" in shown(front_table((), None))
    begun = shown(front_table((), None, (running(0), failed(1))))
    assert "1 running, 1 failed trials, and none has been measured yet" in begun


def test_the_end_of_a_search_names_the_picks_and_the_next_command() -> None:
    told = list(next_steps({"knee": FRONT[1], "fastest": FRONT[2]}, REFERENCE, 0.01, "my study"))
    assert told[1] == "fastest within a loss of 0.01: trial 8, 1.23x, loss 0.0095"
    assert "`autoprec export --pick fastest --study 'my study'`" in told[-1]
    nothing = list(next_steps({"fastest": complete(0, 10.0, 0.0)}, REFERENCE, 0.01))
    assert "nothing faster than the reference was found within a loss of 0.01" in nothing[-1]


def test_a_refused_precision_is_listed_once_with_its_blocks() -> None:
    refusal = (("int8", "no convolution in it"),)
    blocks = [Block(name=name, nodes=("n",), macs=2_000_000, refused=refusal) for name in ("a", "b")]
    text = shown(blocks_table(blocks))
    assert "not int8: no convolution in it (a, b)" in text
    assert "2 blocks, 0 weights, 4.0 M MACs" in text


def test_what_holds_for_every_block_of_many_lists_none() -> None:
    blocks = [Block(name=f"b{n}", nodes=("n",), refused=(("int8", "no weights"),)) for n in range(4)]
    assert "not int8: no weights (every block)" in shown(blocks_table(blocks))
    named = shown(blocks_table([*blocks, Block(name="last", nodes=("n",))]))
    assert "not int8: no weights (b0, b1, b2, b3)" in named


def test_a_trial_shows_what_ran_against_what_was_asked() -> None:
    right = BlockAudit(block="stem", asked="int8", ran="i8 x3", matches=True, time_ms=0.3)
    wrong = BlockAudit(block="neck", asked="fp16", ran="f32 x2", matches=False, time_ms=0.1)
    text = shown(trial_view(audited(FRONT[1], right, wrong), BLOCKS))
    assert all(word in line_of(text, "stem") for word in ("int8", "i8 x3", "yes", "0.3000", "75.0 %"))
    assert all(word in line_of(text, "neck") for word in ("fp16", "f32 x2", "NO", "0.1000", "25.0 %"))
    assert "a separate, profiled run, 0.4000 ms together" in text


def test_a_failed_trial_shows_its_reason_and_its_assignment() -> None:
    text = shown(trial_view(failed(3), BLOCKS))
    assert "build: no kernel for Conv" in text
    assert "int8" in line_of(text, "stem")


def test_nothing_in_the_data_is_markup() -> None:
    block = Block(name=NASTY, nodes=(NASTY,), op_counts=((NASTY, 2),), refused=((NASTY, NASTY),))
    trial = msgspec.structs.replace(FRONT[1], label=NASTY, study=NASTY)
    for view in (blocks_table([block]), front_table([trial], REFERENCE), trial_view(trial, [block])):
        assert NASTY in shown(view)
    assert NASTY in shown(front_plot([trial], REFERENCE))


def test_the_plot_places_points_by_latency_and_loss() -> None:
    anchor = msgspec.structs.replace(FRONT[0], label="all-int8")
    rows = front_plot(
        (anchor, *FRONT[1:], complete(10, 12.0, 0.3, choices="bf16 bf16")), REFERENCE, 60, 12
    ).plain.splitlines()[1:13]
    top, bottom = rows[0], rows[-1]
    assert top.index("A") < rows[6].index("┊")
    assert top.rstrip().endswith("·")
    assert bottom.rstrip().endswith("●")
    assert "0.3" in top
    assert bottom.lstrip().startswith("0 ")


@pytest.mark.parametrize("trials", [(), (running(0), failed(1)), (complete(2, math.nan, 0.1),)])
def test_without_a_complete_trial_the_plot_says_so(trials: tuple[TrialRecord, ...]) -> None:
    assert "no trial is complete yet" in shown(front_plot(trials, REFERENCE))


@pytest.mark.parametrize("loss", [0.0, 1.0])
def test_a_single_point_can_be_plotted(loss: float) -> None:
    assert "●" in front_plot([complete(0, 5.0, loss)], None, 40, 5).plain


def test_json_is_strict_and_reads_back() -> None:
    value = json.loads(as_json((complete(0, math.nan, 0.5), failed(1))), parse_constant=pytest.fail)
    assert value[0]["measurement"]["latency_ms"] is None
    assert value[1]["failure"]["kind"] == "build"


def test_cures_are_written_by_first_letters_and_told_below() -> None:
    long = "int8+p99.9+smooth+adaround"
    text = shown(front_table([complete(0, 5.0, 0.01, choices=f"{long} fp16")], REFERENCE))
    assert "int8+p99.9+sa×1" in text
    assert f"int8+p99.9+sa: {long}" in text


def test_one_sample_has_no_interval_and_few_that_carry_a_loss_are_told() -> None:
    record = complete(1, 5.0, 0.2)
    measured = record.measurement
    assert measured is not None

    def told(**changes: int) -> str:
        quality = msgspec.structs.replace(measured.quality, **changes)
        changed = msgspec.structs.replace(measured, quality=quality)
        return shown(front_table([msgspec.structs.replace(record, measurement=changed)], REFERENCE))

    assert "(0.2000 to 0.2000)" in told(samples=9)
    assert "(0.2000 to 0.2000)" not in told(samples=1)
    assert "half of the loss is in 1 of 46 samples" in told(samples=46, carriers=1)
    assert "half of the loss" not in told(samples=46, carriers=9)


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
@pytest.mark.parametrize("count", [2, 9])
def test_no_width_loses_a_figure_or_what_names_its_row(width: int, count: int) -> None:
    names = [f"stages.{number}.blocks.0" for number in range(4)]
    figures = [[f"{column}.{row}{row}{row}" for row in range(4)] for column in range(count)]
    long = "int8+smooth+float-add+adaround+bias"
    titles = [f"{long} alone" if column == 1 else f"c{column}" for column in range(count)]
    table = Columns(
        (
            Column("block", [Text(name) for name in names], right=False),
            *(Column(title, cells) for title, cells in zip(titles, figures, strict=True)),
            Column("words", ["what may be wrapped, and is long enough for that"] * 4, right=False),
        )
    )
    lines = shown(table, width).splitlines()
    assert all(len(line) <= width for line in lines)
    for row, name in enumerate(names):
        mine = " ".join(line for line in lines if line.startswith(name))
        assert all(cells[row] in mine for cells in figures)


@pytest.mark.parametrize("width", [60, 80])
def test_words_and_names_of_rows_stay_whole(width: int) -> None:
    name, kinds = "backbone.stages.3.op_list.1.main.depth_conv", "all-int8+sfpab int8+sfpab×12 fp16×3"
    columns = [Column("block", [name], right=False), *(Column(f"c{n}", ["0.1234"]) for n in range(5))]
    text = shown(Columns([*columns, Column("precisions", [kinds], right=False)]), width)
    assert all(len(line) <= width for line in text.splitlines())
    assert {name, *kinds.split()} <= set(text.split())


def test_unimportant_columns_go_where_there_is_no_room() -> None:
    columns = (Column("block", ["stem"], right=False), Column("a", ["1" * 30]), Column("b", ["2" * 30], 1))
    assert "2" * 30 in shown(Columns(columns), 80)
    assert "2" * 30 not in shown(Columns(columns), 60)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_sensitivities_of_variants_keep_their_blocks(width: int) -> None:
    long = "int8+smooth+float-add+adaround+bias"
    blocks = [Block(name="stages.1.blocks.2.context", nodes=("n",))]
    table = {"stages.1.blocks.2.context": {"int8": 0.5, long: 0.25, "fp8": 0.125}}
    text = shown(sensitivity_table(blocks, table), width)
    row = line_of(text, "stages")
    assert all(word in row for word in ("stages.1.blocks.2.context", "0.5000", "0.2500", "0.1250"))
    assert f"int8+sfab: {long}" in text
