"""Writing a first definition, with immediate warnings about its samples."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from autoprec.errors import SpecError, UserError, cannot
from autoprec.files import replacing
from autoprec.measurement.pipeline import check_prompts
from autoprec.recipes import SIDES, Facts, definition_text, facts_of, plan_of
from autoprec.recipes.exporting import export_checkpoint
from autoprec.samples import load_samples, warnings_of
from autoprec.spec import StudySpec, load_spec

__all__ = ["WrittenDefinition", "export_checkpoint", "write_definition"]


class WrittenDefinition(NamedTuple):
    """A definition's path, the reasons for its contents, and what to fix before a search, one line each."""

    path: Path
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]


def write_definition(
    model: Path | str,
    *,
    recipe: str = "",
    decoder: Path | str | None = None,
    calibration: Path | str | None = None,
    evaluation: Path | str | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    folder: Path | str = "studies",
    name: str = "",
) -> WrittenDefinition:
    """Write `FOLDER/NAME.toml` from the recipe and the model.

    Args:
        model: the file to search.
        recipe: a name of `RECIPES`; "" guesses from the graph.
        decoder: a fixed model behind it.
        calibration: folder of samples to calibrate on.
        evaluation: folder of samples to score on.
        shapes: sizes of dynamic inputs, by name.
        folder: folder of the definition.
        name: name of the study; "" takes the model's.

    Raises `ModelError` for a model that cannot be used, `SpecError` if the file exists or cannot be written,
    or if the recipe does not fit.
    """
    model, folder = Path(model), Path(folder)
    decoder, calibration, evaluation = (
        None if path is None else Path(path) for path in (decoder, calibration, evaluation)
    )
    target = folder / f"{name or model.stem}.toml"
    if target.exists():
        raise SpecError(f"{target} already exists; edit it, or move it away")
    facts, plan = plan_of(facts_of(model, decoder, shapes or {}, SIDES.get(recipe, 512)), recipe)
    if plan.made:
        facts = facts._replace(decoder=folder / f"{target.stem}-decoder.onnx")
    sets = {"calibration": calibration, "evaluation": evaluation}
    text = definition_text(facts, plan, folder, recipe=recipe, sets=sets)
    _write(target, text, facts, plan.made)
    try:
        return WrittenDefinition(target, plan.reasons, tuple(_warnings(load_spec(target), facts)))
    except (
        BaseException
    ):  # out of memory, say: a file that was left there would be in the way of the next try
        target.unlink(missing_ok=True)
        raise


def _write(target: Path, text: str, facts: Facts, decoder: bytes) -> None:
    try:
        data = text.encode()
        # What a search will read must be what was meant, whatever names the model has.
        tomllib.loads(text)
    except (UnicodeEncodeError, tomllib.TOMLDecodeError) as error:
        raise SpecError(
            f"{target}: a name cannot be written in a definition ({error}); rename the file or the tensor"
        ) from error
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if decoder and facts.decoder is not None:
            with replacing(facts.decoder) as part:
                part.write_bytes(decoder)
        with replacing(target) as part:
            part.write_bytes(data)
    except OSError as error:
        raise SpecError(cannot(target, error, "go to a writable folder")) from error


def _warnings(spec: StudySpec, facts: Facts) -> list[str]:
    """What a search would refuse or warn about, as far as it shows without running the model."""
    absent = [
        f"samples.{which}: {os.path.normpath(named)} does not exist yet: put images or .npz files in it, or "
        "name another folder"
        for which, named in (
            ("calibration", spec.samples.calibration),
            ("evaluation", spec.samples.evaluation),
        )
        if not Path(named).exists()
    ]
    if absent:
        return absent
    told: list[str] = []  # what is found before an error is told beside it
    try:
        sets = [load_samples(spec.samples, which, facts.inputs) for which in ("calibration", "evaluation")]
        told += warnings_of(spec.samples, *sets)
        for samples in sets:
            samples[0]  # what cannot be read is reported now
        decoder = Path(spec.pipeline.decoder) if spec.pipeline.decoder else None
        unfed = check_prompts(decoder, [output.name for output in facts.outputs], sets[1])
        told += [f"samples.evaluation: {words}" for words in unfed]
    except UserError as error:
        told.append(str(error))
    return told
