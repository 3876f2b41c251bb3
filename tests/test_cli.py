"""The command line: every command is documented, and a user's mistake is one line and exit code 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from autoprec import Study
from autoprec.cli import app
from autoprec.errors import SpecError
from autoprec.store import exclusive
from command_line import autoprec
from tiny_study import write_model, write_samples, write_searched, write_study

README = Path(__file__).parent.parent / "README.md"
COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_searched(folder)
    return folder


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_and_stands_in_the_readme(name: str) -> None:
    text = typer.main.get_command(app).commands[name].help  # type: ignore[attr-defined]
    assert text
    assert f"Example: autoprec {name}" in text
    assert f"autoprec {name}" in README.read_text()


def test_help_shows_the_first_sentence_of_every_command_whole(tmp_path: Path) -> None:
    shown = autoprec("--help", folder=tmp_path).stdout
    assert "..." not in shown.split("Commands:")[1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("blocks --study nowhere", "no study 'nowhere'"),
        ("blocks --study missing.toml", "no such study definition"),
        ("init missing.onnx", "no such model"),
        ("init --recipe efficientvit-sam --checkpoint l0.pt --shape image=1,3,9,9", "leave --decoder and"),
        (
            "init --recipe efficientvit-sam --checkpoint made.pt",
            "init studies/models/made/encoder.onnx --dec",
        ),
        ("search --budget many", "budget 'many'"),
        ("search --budget 0", "budget '0'"),
        ("search --budget=", "budget ''"),
        ("front --study fresh.toml", "autoprec search --study fresh"),
        ("show 99", "no trial 99"),
        ("export --pick best", "unknown pick 'best'"),
        ("export --pick fastest --max-loss -1", "--max-loss"),
        ("export --to floppy", "unknown export target 'floppy'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(searched: Path, words: str, says: str) -> None:
    (searched / "fresh.toml").write_text((searched / "tiny.toml").read_text())
    for path in ("l0.pt", "made.pt", "studies/models/made/encoder.onnx"):
        (searched / path).parent.mkdir(parents=True, exist_ok=True)
        (searched / path).touch()
    study = [] if "--study" in words or words.startswith("init") else ["--study", "tiny.toml"]
    result = autoprec(*words.split(), *study, folder=searched)
    assert result.returncode == 2, result.stdout + result.stderr
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("[search]", "[search]\nverbose = 3"), "unknown key `search.verbose`; known: precisions"),
        (("[search]", "[serch]\nseed = 3\n[search]"), "did you mean `search`?"),
        (("[search]", '[search]\nbudget = "8 hours"'), "tiny.toml: search.budget '8 hours'"),
        (("[search]", '[search]\nprecisions = ["fp32", "fp12"]'), "unknown precision 'fp12'"),
        (("[search]", '[search]\nreference = "int8"'), "must be a float precision"),
        (('strategy = "random"', 'strategy = "lucky"'), "takes one of: autoprec, tpe"),
        (('"evaluation"', '"calibration"'), "disjoint"),
        (('"evaluation"', '"elsewhere"'), "elsewhere"),
        (("[model]", "[model]\nshapes = {imago = [1, 3, 32, 32]}"), "did you mean 'image'"),
        (("[model]", "[model]\nshapes = {image = [1, 3, 64, 64]}"), "[1, 3, 32, 32]"),
        (('path = "tiny.onnx"', 'path = "gone.onnx"'), "no such model"),
        (('output = "masks"', 'output = "mask"'), "masks"),
        (("[search]", '[quality]\nmetric = "nowhere:score"\n[search]'), "the module 'nowhere'"),
        (("[pipeline]", '[pipeline]\ndecoder = "gone.onnx"'), "gone.onnx"),
        (("[timing]", '[backend]\nname = "abacus"\n[timing]'), "unknown backend 'abacus'"),
        (("[timing]", "[backend]\noptions = {turbo = true}\n[timing]"), "turbo"),
        (("[timing]", "[blocks.pin]\n'z*' = 'fp32'\n[timing]"), "matches no block"),
        (("[model]", "[model"), "TOML"),
    ],
)
def test_a_wrong_definition_is_one_line_naming_what_is_wrong(
    tmp_path: Path, change: tuple[str, str], says: str
) -> None:
    path = write_study(tmp_path)
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace("[blocks]\nminimum = 1\n", "") if "blocks.pin" in change[1] else text)
    path.write_text(path.read_text().replace(*change))
    result = autoprec("search", "--study", "tiny.toml", "--budget", "1", folder=tmp_path)
    assert result.returncode == 2, result.stdout + result.stderr
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("words", ["blocks", "front", "sensitivity", "show 0"])
def test_json_is_json(searched: Path, words: str) -> None:
    result = autoprec(*words.split(), "--json", "--study", "tiny.toml", folder=searched)
    assert result.returncode == 0, result.stderr
    json.loads(result.stdout)


def test_noise_stands_beside_every_loss_for_scripts_too(searched: Path) -> None:
    words = ("--json", "--study", "tiny.toml")
    front = json.loads(autoprec("front", *words, folder=searched).stdout)
    trial = json.loads(autoprec("show", "0", *words, folder=searched).stdout)
    assert front
    assert all(row["float_loss"] >= 0 and row["loss_noise"] >= 0 for row in [*front, trial])


@pytest.mark.parametrize("words", ["blocks", "front", "sensitivity", "show 3"])
def test_listings_are_text_that_fits_a_terminal(searched: Path, words: str) -> None:
    result = autoprec(*words.split(), "--study", "tiny.toml", folder=searched)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_init_writes_a_definition_that_can_be_searched(tmp_path: Path) -> None:
    pytest.importorskip("tomlkit")
    write_model(tmp_path / "mine.onnx")
    write_samples(tmp_path / "a", seed=1)
    write_samples(tmp_path / "b", seed=2)
    words = ["init", "mine.onnx", "--calibration", "a", "--evaluation", "b"]
    assert autoprec(*words, folder=tmp_path).returncode == 0
    assert autoprec(*words, folder=tmp_path).returncode == 2, "it does not overwrite"
    result = autoprec("search", "--budget", "1", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "all-fp32" in result.stdout


def test_init_says_where_it_cannot_write(tmp_path: Path) -> None:
    pytest.importorskip("tomlkit")
    write_model(tmp_path / "mine.onnx")
    (tmp_path / "studies").write_text("in the way")
    result = autoprec("init", "mine.onnx", folder=tmp_path)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("autoprec: studies/mine.toml: cannot be written")


def test_what_scores_masks_is_checked_before_the_calibration(tmp_path: Path) -> None:
    path = write_study(tmp_path, '[quality]\nmetric = "masc_iou"\n')
    with pytest.raises(SpecError, match="known: mask_iou"):
        Study.load(path).search("1")
    assert not (tmp_path / "tiny" / "calibration").exists()


def test_what_a_metric_raises_in_two_lines_is_told_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_scores.py").write_text("def broken(a, b): raise ValueError('bad\\nscore')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    write_study(tmp_path, '[quality]\nmetric = "my_scores:broken"\n')
    result = autoprec("search", "--study", "tiny.toml", "--budget", "1", folder=tmp_path)
    assert result.returncode == 2
    assert "raised ValueError on 0.npz: bad score" in result.stderr.splitlines()[-1]


def test_the_version_is_told(tmp_path: Path) -> None:
    assert autoprec("--version", folder=tmp_path).stdout.startswith("autoprec ")


def test_a_study_whose_search_was_refused_is_reported(tmp_path: Path) -> None:
    write_study(tmp_path, "\n[quality]\nthreshold = 1000\n")
    refused = autoprec("search", "--study", "tiny.toml", "--budget", "1", folder=tmp_path)
    assert "quality.threshold" in refused.stderr
    report = autoprec("report", "--study", "tiny.toml", folder=tmp_path)
    assert report.returncode == 0, report.stderr
    assert (tmp_path / report.stdout.strip()).is_file()


def test_an_export_is_written_where_it_is_asked_for(searched: Path) -> None:
    result = autoprec("export", "out", "--trial", "3", "--study", "tiny.toml", folder=searched)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["out"]
    assert "trial 3: " in result.stderr
    verbose = autoprec("export", "out", "--trial", "3", "-v", "--study", "tiny.toml", folder=searched)
    folder, *files = verbose.stdout.splitlines()
    assert folder == "out"
    assert "out/verify.py" in files
    assert all((searched / line).is_file() for line in files)


def test_the_fastest_point_is_held_to_the_accepted_loss(searched: Path) -> None:
    text = (searched / "tiny.toml").read_text()
    (searched / "strict.toml").write_text(
        text.replace("[model]", 'name = "tiny"\nfolder = "tiny"\n[model]', 1).replace(
            "[search]", "[search]\naccepted_loss = 1e-12"
        )
    )
    words = ("export", "--pick", "fastest", "--examples", "0", "--study", "strict.toml")
    picked, limited, free = (
        autoprec(*words, *more, folder=searched).stderr
        for more in ((), ("--max-loss", "1e-12"), ("--max-loss", "1"))
    )
    assert picked == limited
    assert picked != free


def test_an_export_says_that_only_the_reference_was_found(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    path.write_text(path.read_text().replace("[search]", '[search]\nprecisions = ["fp32"]'))
    search = autoprec("search", "--budget", "3", "--study", "tiny.toml", folder=tmp_path)
    assert "all that `autoprec blocks` allows is measured" in search.stdout
    words = ("export", "--pick", "fastest", "--examples", "0", "--study", "tiny.toml")
    assert "it is no faster than the reference" in autoprec(*words, folder=tmp_path).stderr


def test_an_export_is_written_while_the_study_is_searched(searched: Path) -> None:
    with exclusive(searched / "tiny"):  # as a search holds it
        result = autoprec("export", "beside", "--trial", "3", "--study", "tiny.toml", folder=searched)
    assert result.returncode == 0, result.stderr
    assert (searched / "beside" / "model.onnx").is_file()


def test_a_file_is_no_export(tmp_path: Path) -> None:
    result = autoprec("verify", str(write_model(tmp_path / "tiny.onnx")), folder=tmp_path)
    assert result.returncode == 2
    assert "contains no export" in result.stderr


def test_a_trial_of_another_model_is_not_exported(tmp_path: Path) -> None:
    write_searched(tmp_path)
    write_model(tmp_path / "tiny.onnx", seed=7)
    result = autoprec("export", "--trial", "0", "--study", "tiny.toml", folder=tmp_path)
    assert result.returncode == 2
    assert "was measured with something else: the model" in result.stderr


def test_a_trial_is_exported_without_a_limit_of_loss(searched: Path) -> None:
    words = ("export", "--trial", "3", "--max-loss", "0.1", "--study", "tiny.toml")
    assert autoprec(*words, folder=searched).returncode == 2
