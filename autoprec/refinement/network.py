"""An ONNX graph as a torch module: weights are parameters, and inputs of quantised ops are fake-quantised.

Converters on PyPI were looked at first: onnx2torch 1.5.15 (Apache-2.0, the latest) knows convolutions up to
opset 11, and models are at 22 here.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autoprec.errors import ModelError
from autoprec.graph.ops.placement import channel_axis
from autoprec.refinement.fake import fake_activation, fake_weight
from autoprec.refinement.operators import OPERATORS

_TRAINED = frozenset(
    {"Conv", "ConvTranspose", "Gemm", "MatMul", "LayerNormalization", "BatchNormalization", "Add"}
)
"""Ops whose float constants are learned."""


class Clip(NamedTuple):
    """A grid by its lowest and highest step; `integer` is False for FP8."""

    low: float
    high: float
    integer: bool


class Network(nn.Module):  # type: ignore[misc, unused-ignore]  # torch may be absent where types are checked
    """Runs a float model.

    Args:
        model: the float model.
        clips: (node name, input place) to the grid that this input is fake-quantised on.
        steps: step of the grid of each quantised activation, by value name.

    Raises `ModelError` naming an op that is not known here.
    """

    def __init__(
        self,
        model: ir.Model,
        clips: Mapping[tuple[str, int], Clip] | None = None,
        steps: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        unknown = sorted({node.op_type for node in model.graph} - OPERATORS.keys())
        if unknown:
            raise ModelError(
                f"refinement does not support the operator {unknown[0]}: train with Q/DQ in your code, and "
                "search the quantised ONNX; its scales are kept"
            )
        self.model, self._clips = model, dict(clips or {})
        self._nodes = list(model.graph)
        self._names: dict[str, str] = {}
        self._weights = nn.ParameterDict()
        self._constants: dict[str, Tensor] = {}
        for name, value in model.graph.initializers.items():
            assert value.const_value is not None
            tensor = torch.from_numpy(np.array(value.const_value.numpy()))
            # Only by readers that learn: a Resize's scales or a Clip's bounds are floats, too.
            if tensor.is_floating_point() and any(node.op_type in _TRAINED for node in value.consumers()):
                self._names[name] = f"w{len(self._names)}"
                self._weights[self._names[name]] = nn.Parameter(tensor.float())
            else:
                self._constants[name] = tensor
        self._step_names = {name: f"s{i}" for i, name in enumerate(steps or {})}
        self._steps = nn.ParameterDict(
            {
                self._step_names[name]: nn.Parameter(torch.tensor(float(step)).log())
                for name, step in (steps or {}).items()
            }
        )

    def forward(self, feeds: Mapping[str, Tensor], taps: Set[str] = frozenset()) -> dict[str, Tensor]:
        """The model's outputs by name, and the values named in `taps`."""
        tapped: dict[str, Tensor] = {}
        values: dict[ir.Value, Tensor] = {value: feeds[str(value.name)] for value in self._inputs()}
        # Values are let go behind their last reader; what training needs of them, torch keeps by itself.
        left = {v: len(list(v.uses())) for node in self._nodes for v in node.outputs}
        for node in self._nodes:
            inputs = [
                None if v is None else self._read(node, i, v, values) for i, v in enumerate(node.inputs)
            ]
            outputs = OPERATORS[node.op_type](node, inputs)
            values.update(zip(node.outputs, outputs, strict=False))
            tapped |= {str(v.name): values[v] for v in node.outputs if v.name in taps}
            for value in node.inputs:
                if value in left:
                    left[value] -= 1
                    if not left[value] and not value.is_graph_output():
                        values.pop(value, None)
        return tapped | {str(value.name): values[value] for value in self.model.graph.outputs}

    def weight_parameters(self) -> list[nn.Parameter]:
        """Weights, biases, parameters of norms."""
        return list(self._weights.values())

    def step_parameters(self) -> list[nn.Parameter]:
        """Logarithms of the steps of activations."""
        return list(self._steps.values())

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """The current weights, by initializer name."""
        return {name: self._weights[key].detach().numpy() for name, key in self._names.items()}

    def steps(self) -> dict[str, float]:
        """The steps of activations, by value name."""
        return {name: float(self._steps[key].detach().exp()) for name, key in self._step_names.items()}

    def _inputs(self) -> list[ir.Value]:
        return [v for v in self.model.graph.inputs if v.name not in self.model.graph.initializers]

    def _read(self, node: ir.Node, place: int, value: ir.Value, values: Mapping[ir.Value, Tensor]) -> Tensor:
        """An input of a node, fake-quantised where the candidate has a pair."""
        name, clip = str(value.name), self._clips.get((str(node.name), place))
        if value in values:
            tensor = values[value]
        elif name in self._names:
            tensor = self._weights[self._names[name]]
        else:
            tensor = self._constants[name]
        if clip is None:
            return tensor
        if value.const_value is not None:
            return fake_weight(tensor, channel_axis(node, value), clip.high, integer=clip.integer)
        step = self._steps[self._step_names[name]]
        return fake_activation(tensor, step, clip.low, clip.high, integer=clip.integer)


def tensors(feeds: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    """One sample's inputs as tensors."""
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in feeds.items()}
