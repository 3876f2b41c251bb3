"""What a fixed decoder is fed for a sample: prompts by the reading rule, archives as they are."""

from __future__ import annotations

from collections.abc import Container, Mapping

from autoprec.errors import ModelError
from autoprec.reading.arrays import typed
from autoprec.reading.errors import UnfitError
from autoprec.reading.prompts import Arrays, DecoderInput, completed, runs_of
from autoprec.samples import Sample

__all__ = ["Arrays", "DecoderInput", "asked_of"]


def asked_of(
    inputs: Mapping[str, DecoderInput], computed: Container[str], sample: Sample
) -> tuple[Arrays, ...]:
    """What each run of the decoder is fed beside the searched model's outputs.

    Args:
        inputs: all of the decoder's.
        computed: the names of the searched model's outputs.
        sample: whose prompts these are.

    Raises `ModelError` naming an input that nothing feeds, or that no prompt fits.
    """
    wanted = {name: each for name, each in inputs.items() if name not in computed}
    try:
        prompts = [completed(wanted, asked, sample.name, sample.size) for asked in sample.asked]
        for name in wanted:
            if not all(name in prompt for prompt in prompts or (sample.prompts,)):
                given = ", ".join((prompts or (sample.prompts,))[0]) or "none"
                raise ModelError(
                    f"the decoder's input {name!r} is neither an output of the model nor a prompt of "
                    f"{sample.name} ({given}); name it in prompts.json, or in the .npz file"
                )
        if sample.asked:
            return runs_of(wanted, prompts, sample.name)
    except UnfitError as error:
        raise ModelError(f"{error}: fix prompts.json") from error
    return ({name: typed(sample.prompts[name], each.kind) for name, each in wanted.items()},)
