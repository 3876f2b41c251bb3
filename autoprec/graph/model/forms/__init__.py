"""Equivalent forms of a graph: constants computed ahead, operators that every engine computes correctly."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from autoprec.graph.model.forms.fourier import along_first_axis
from autoprec.graph.model.forms.pooling import without_ceiling
from autoprec.graph.model.forms.reductions import before_other_sizes, over_no_axes
from autoprec.graph.model.forms.resampling import with_matrices
from autoprec.graph.model.forms.sharing import apart
from autoprec.graph.model.forms.slopes import along_last_axis
from autoprec.graph.model.forms.vectors import without_single_values

FORMS: tuple[Callable[[ir.Graph], None], ...] = (
    along_first_axis,
    over_no_axes,
    before_other_sizes,
    along_last_axis,
    without_ceiling,
    with_matrices,
    without_single_values,
    apart,
)
"""What is done to every graph that has shapes and is at the last opset, in this order."""
