"""From one sample to its mask logits: the searched engine, and a fixed decoder behind it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from autoprec.backends import (
    EMBEDDED,
    Backend,
    Builder,
    BuildsUntimed,
    CutsMasks,
    Distant,
    Engine,
    create_backend,
    run,
)
from autoprec.backends.timing import elapsed
from autoprec.errors import ModelError, TrialError, UserError
from autoprec.graph.model.load import open_model
from autoprec.graph.model.outputs import model_outputs
from autoprec.measurement.messages import Original, Setup
from autoprec.measurement.prompting import Arrays, DecoderInput, asked_of
from autoprec.quality import planes_of, refuse, shape_refusal
from autoprec.reading.prompts import unfed
from autoprec.records import ModelOutput
from autoprec.samples import Sample, Samples, frame_of
from autoprec.spec import PipelineSection


class Pipeline:
    """Runs samples through a searched engine; owns the decoder.

    Args:
        builder: builds the decoder, in the precision that its file has.
        section: the definition's `[pipeline]`.
        size: (height, width) of the image that masks come of; None where there is none.
        is_beside: whether the decoder may run in another thread than the searched engine, as on processors.
    """

    def __init__(
        self,
        builder: Builder,
        section: PipelineSection,
        size: tuple[int, int] | None = None,
        *,
        is_beside: bool = False,
    ) -> None:
        self._output, self._layout = section.output, section.layout
        self._size = None if section.decoder else size  # a decoder may give masks of the original's size
        self._is_beside = is_beside
        self._decoder: Engine | None = None
        self._inputs: dict[str, DecoderInput] = {}
        self.decoding = 0.0
        """Seconds that the decoder ran, of all samples so far."""
        if section.decoder:
            self._inputs = _inputs(Path(section.decoder))
            untimed = builder.build_untimed if isinstance(builder, BuildsUntimed) else builder.build
            self._decoder = untimed(Path(section.decoder))

    @classmethod
    def of(cls, builder: Builder, setup: Setup | Original, beside: Builder | None = None) -> Pipeline:
        """The pipeline of what a worker receives.

        Behind a target the decoder runs here: what the searched model gives has come over already. `beside`
        builds it where it may run in parallel with the searched engine, see `beside_of`.
        """
        frame = frame_of(setup.shapes, setup.samples.input, len(setup.samples.mean))
        decodes = create_backend(EMBEDDED, {}) if isinstance(builder, Distant) else builder
        size = frame.size if frame else None
        return cls(beside or decodes, setup.pipeline, size, is_beside=beside is not None)

    def logits(self, engine: Engine, sample: Sample) -> NDArray[np.float32]:
        """Mask logits of one sample: float32 [masks, height, width].

        Raises `ModelError` if no output has the definition's name, `SpecError` if that output holds no masks,
        `TrialError` if an engine fails.
        """
        return self.masks(run(engine, sample.inputs), sample)

    def warm(self, sample: Sample) -> None:
        """Run the decoder once on a sample's prompts, with zeros for what the searched model gives: a first
        run may compile for seconds. Whatever fails is told when it matters."""
        blank = {
            name: np.zeros([size or 0 for size in each.shape], each.kind)
            for name, each in self._inputs.items()
            if each.shape is not None and None not in each.shape
        }
        with suppress(UserError, TrialError):
            for _ in self.runs(blank, sample):
                pass
        self.decoding = 0.0

    def begin(self, engine: Engine, sample: Sample) -> Callable[[], NDArray[np.float32]]:
        """Run the searched engine on a sample; what is returned gives the mask logits, and can be called in
        another thread. Where the decoder can run beside the engine it is left to that call. Both raise as
        `logits` does."""
        values = run(engine, sample.inputs)
        if self._is_beside:
            return partial(self.masks, values, sample)
        logits = self.masks(values, sample)
        return lambda: logits

    @property
    def output_alone(self) -> str:
        """The searched model's output that holds the masks; empty if a decoder follows."""
        return "" if self._decoder else self._output

    def cut(self, engine: CutsMasks, sample: Sample, above: float) -> NDArray[np.bool_]:
        """Masks of one sample [masks, height, width], cut where the engine is. Raises as `logits` does."""
        planes = self._planes({self._output: engine.cut(sample.inputs, self._output, above)})
        return planes > 0

    def truth(self, sample: Sample, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
        """A sample's true masks for masks of `shape`, as `Sample.truth_for`; None where they are the objects
        of prompts that nothing takes, as in a folder made for SAM that a segmenter reads."""
        left = [set(prompt) - set(unfed(prompt, self._inputs)) for prompt in sample.asked]
        return None if any(sample.asked) and not any(left) else sample.truth_for(shape)

    def masks(self, values: Mapping[str, NDArray[Any]], sample: Sample) -> NDArray[np.float32]:
        """Mask logits of the searched model's outputs on one sample. Raises as `logits` does."""
        planes = [planes for _, planes in self.runs(values, sample)]
        return planes[0] if len(planes) == 1 else np.concatenate(planes)

    def runs(
        self, values: Mapping[str, NDArray[Any]], sample: Sample
    ) -> Iterator[tuple[Arrays, NDArray[np.float32]]]:
        """What the decoder is fed beside the searched model's outputs, and the masks of it: once for all
        prompts, or once for each. Raises as `logits` does."""
        if self._decoder is None:
            yield {}, self._planes(values)
            return
        for prompts in asked_of(self._inputs, values, sample):
            given = {name: values[name] for name in self._inputs if name in values}
            # Engines give float32 whatever a model's own types are; a decoder may take FP16.
            feeds = {name: array.astype(self._inputs[name].kind, copy=False) for name, array in given.items()}
            with elapsed() as decoding:
                outputs = run(self._decoder, feeds | prompts)
            self.decoding += decoding.seconds
            yield prompts, self._planes(outputs)

    def _planes(self, values: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        if self._output not in values:
            raise ModelError(
                f"pipeline.output is {self._output!r}, but the model's outputs are: {', '.join(values)}"
            )
        array = values[self._output]
        others = [f"{name} {list(value.shape)}" for name, value in values.items() if name != self._output]
        refuse(shape_refusal(self._output, array.shape, self._layout, self._size, others))
        return planes_of(array, self._layout)


def beside_of(backend: Backend, threads: int | None) -> Backend | None:
    """What runs a decoder on the processors that the searched engine leaves idle; None where they do not.

    Args:
        backend: the searched engine's.
        threads: that both may use; None is every core.
    """
    # An engine of several threads wants them for itself, and a GPU decodes faster than the processors.
    is_on_one = backend.name == EMBEDDED and backend.stopwatch == "processor"
    if not is_on_one and not isinstance(backend, Distant):
        return None
    free = (threads or len(os.sched_getaffinity(0))) - is_on_one
    return create_backend(EMBEDDED, {"threads": max(1, free)})


def decoder_outputs(path: Path) -> tuple[ModelOutput, ...]:
    """A decoder's outputs. Raises `ModelError` for a file that is not there or no ONNX."""
    return model_outputs(_graph(path))


def _graph(path: Path) -> ir.Graph:
    """A decoder's graph, with the same checks as the searched model's."""
    try:
        return open_model(path).graph
    except ModelError as error:
        raise ModelError(f"pipeline.decoder: {error}") from error


def _inputs(path: Path) -> dict[str, DecoderInput]:
    """Name, type and sizes of the inputs of a decoder."""
    graph = _graph(path)
    return {
        str(value.name): DecoderInput(np.dtype(value.dtype.numpy()), _sizes(value.shape))
        for value in graph.inputs
        if value.name not in graph.initializers and value.dtype is not None
    }


def _sizes(shape: ir.Shape | None) -> tuple[int | None, ...] | None:
    """The sizes of a shape, None for symbolic ones; None without a shape."""
    return None if shape is None else tuple(size if isinstance(size, int) else None for size in shape)


def check_prompts(decoder: Path | None, outputs: Container[str], samples: Samples) -> list[str]:
    """A line for each key of prompts, and each array of archives, that nothing takes.

    Args:
        decoder: the file; None where none is behind the model.
        outputs: the names of the model's.
        samples: of which headers and prompts alone are read.

    Raises `ModelError` if a decoder takes something that neither the model's outputs nor a sample's prompts
    give, `SamplesError` for headers and prompts that cannot be read.
    """
    inputs = _inputs(decoder) if decoder else {}
    wanted = {name: each for name, each in inputs.items() if name not in outputs}
    dropped: Counter[str] = Counter()
    for sample in map(samples.outline, range(len(samples))):
        if decoder:
            asked_of(inputs, outputs, sample)
        dropped.update({key for prompt in sample.asked for key in unfed(prompt, wanted)})
        dropped.update(sample.prompts.keys() - wanted.keys())
    taken = ", ".join(map(repr, wanted)) or "none; nor are their true masks"
    return [
        f"{count} of {len(samples)} samples hold {key!r}, which no input takes, so it is left out (prompts "
        f"that are taken: {taken})"
        for key, count in sorted(dropped.items())
    ]
