"""How a study is written is found out on its engine on the first night, and kept on later ones."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from autoprec import Study
from autoprec.backends import create_backend, run
from autoprec.backends.exact import WRONG, Exact, deviation
from autoprec.legality.verdicts import Verdict
from autoprec.measurement import Bench, Race
from autoprec.records import Basis, Reference
from autoprec.spec import load_spec
from autoprec.store import Store
from autoprec.study.night.reference import warning_of
from autoprec.study.preparation import Prepared, prepare
from autoprec.study.preparation.probing import Prober
from tiny_study import write_study

NET = """
<ir_version: 10, opset_import: ["": 19]> net (float[1,3,32,32] image) => (float[1,2,32,32] masks)
<float[16,3,3,3] w, float[16,16,3,3] v, float[2,32,3,3] u> {
   [a] p = Conv<pads = [1, 1, 1, 1]>(image, w)
   [b] r = Relu(p)
   [c] q = Conv<pads = [1, 1, 1, 1]>(r, v)
   [d] k = Concat<axis = 1>(r, q)
   [e] masks = Conv<pads = [1, 1, 1, 1]>(k, u)
}
"""


def write_concat_study(folder: Path) -> Path:
    """The tiny study with a Concat in front of its last convolution."""
    path, proto, random = write_study(folder), onnx.parser.parse_model(NET), np.random.default_rng(0)
    for value in proto.graph.value_info:
        sizes = [size.dim_value for size in value.type.tensor_type.shape.dim]
        array = (random.standard_normal(sizes) / np.sqrt(np.prod(sizes[1:]))).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(array, value.name))
    onnx.save(proto, folder / "tiny.onnx")
    return path


def prepared(path: Path, basis: Basis | None = None) -> Prepared:
    """What a night works with."""
    spec, folder = load_spec(path), path.parent
    with Bench(folder / "worker.log") as bench, Store.open(folder / "facts.db") as store:
        return prepare(spec, asks=Prober(spec, [bench], store, lambda _: None), basis=basis)


def test_int8_behind_a_concat_is_what_exact_arithmetic_gives(tmp_path: Path) -> None:
    setup = prepared(write_concat_study(tmp_path))
    path = tmp_path / "candidate.onnx"
    setup.rewrite(setup.uniform("int8"), path)
    feed = {"image": np.random.default_rng(5).standard_normal((1, 3, 32, 32)).astype(np.float32)}
    with create_backend("openvino", {}).build(path) as engine, Exact().build(path) as exact:
        assert deviation(run(engine, feed), run(exact, feed)).error < WRONG


def test_what_is_never_negative_has_no_sign_where_the_engine_takes_that(tmp_path: Path) -> None:
    setup = prepared(write_concat_study(tmp_path))
    basis = setup.identity.basis
    assert basis is not None
    assert dict(basis.grids).get("r", "signed") in ("unsigned", "signed")
    typed = setup.rewriter.rewrite(setup.uniform("int8"))
    grids = {name: value.dtype for name, value in typed.graph.initializers.items() if name.endswith("/zero")}
    assert ("r/uint8/zero" in grids) == ("r" in dict(basis.grids))
    assert "image/int8/zero" in grids


def test_a_study_from_before_goes_on_as_it_was_written(tmp_path: Path) -> None:
    path = write_concat_study(tmp_path)
    study, before = Study.load(path), prepare(load_spec(path))
    study.folder.mkdir(exist_ok=True)
    old = msgspec.structs.replace(before.identity, spec=f"{before.identity.spec}+fp32", basis=None)
    with Store.open(study.database) as store:
        store.bind("tiny", old, before.blocks)
    study.search("1")
    with Store.open(study.database) as store:
        basis = store.basis("tiny")
        assert basis == Basis(version=0, base="fp32")
        assert store.identity("tiny").spec == before.identity.spec
        assert study.trials()[0].label == "all-fp16"
    assert all("fp16" in block.allowed for block in study.stored_blocks())
    typed = prepared(path, basis).rewriter.rewrite(before.uniform("int8"))
    assert not any("uint8" in name for name in typed.graph.initializers)


def test_floats_are_written_alike_whatever_the_engine_says_of_integers(tmp_path: Path) -> None:
    path = write_concat_study(tmp_path)
    silent = prepared(path, Basis(base="fp32", reference="fp16", is_open=True))
    later = prepared(path, Basis(base="bf16", reference="fp16", grids=(("r", "unsigned"), ("k", "offset"))))
    assert silent.reference_digest == later.reference_digest
    assert silent.setup.is_as(later.setup)


def test_a_later_night_keeps_what_the_first_one_found(tmp_path: Path) -> None:
    path = write_concat_study(tmp_path)
    Study.load(path).search("1")
    with Store.open(Study.load(path).database) as store:
        first = store.basis("tiny")
    Study.load(path).search("1")
    with Store.open(Study.load(path).database) as store:
        assert store.basis("tiny") == first
    assert first is not None
    assert (first.version, first.base, first.reference) == (1, "fp32", "fp32")


def test_a_base_that_costs_a_block_its_int8_is_not_taken(tmp_path: Path) -> None:
    path = write_concat_study(tmp_path)
    spec = load_spec(path)
    with Bench(tmp_path / "worker.log") as bench, Store.open(tmp_path / "facts.db") as store:
        prober = Prober(spec, [bench], store, lambda _: None)
        prepared = prepare(spec, asks=prober)
        basis = prepared.identity.basis
        assert basis is not None
        kept = store.facts("tiny", f"verdict {prepared.identity.fingerprint.digest}", Verdict)
    in_bf16 = {verdict.pattern for verdict in kept.values() if verdict.precision == "bf16"}
    assert "conv" in in_bf16, "both float types are asked for"
    refused = {name for block in prepared.blocks for name, _ in block.refused}
    assert "int8" not in refused


def test_two_models_are_timed_by_the_one_stopwatch(tmp_path: Path) -> None:
    setup = prepared(write_concat_study(tmp_path))
    paths = [str(tmp_path / f"{name}.onnx") for name in ("fp32", "int8")]
    for path in paths:
        setup.rewrite(setup.uniform(Path(path).stem), Path(path))
    with Bench(tmp_path / "worker.log") as bench:
        race = Race(
            backend=setup.spec.backend,
            timing=setup.spec.timing,
            reference_path=paths[0],
            candidate_path=paths[1],
        )
        latency = bench.race(race)
    assert latency.rounds >= setup.spec.timing.minimum_rounds
    assert latency.ratio_interval.low <= latency.ratio <= latency.ratio_interval.high


@pytest.mark.parametrize(("loss", "warns"), [(0.0, False), (0.004, False), (0.006, True), (0.02, True)])
def test_a_reference_that_loses_nearly_what_is_accepted_is_told(loss: float, warns: bool) -> None:
    reference = Reference(
        precision="fp16", model_digest="", latency_ms=1, latency_noise=0, loss_noise=0, float_loss=loss
    )
    words = warning_of(reference, 0.01)
    assert bool(words) == warns
    assert not warns or ('search.reference = "fp32"' in words and f"{loss:.4f}" in words)


def test_fp16_is_no_choice_where_the_engine_runs_it_as_fp32(tmp_path: Path) -> None:
    setup = prepared(write_concat_study(tmp_path))
    for block in setup.blocks:
        assert "fp16" not in block.allowed
        assert dict(block.refused)["fp16"] == "runs as fp32 here: this engine cannot tell them apart"
    assert setup.reference == setup.uniform("fp32")


def test_a_reference_that_is_asked_for_stays(tmp_path: Path) -> None:
    path = write_concat_study(tmp_path)
    path.write_text(path.read_text().replace("[search]", '[search]\nreference = "fp16"'))
    setup = prepared(path)
    assert setup.reference == setup.uniform("fp16")
    assert all(dict(block.refused)["fp32"].startswith("runs as fp16 here") for block in setup.blocks)
