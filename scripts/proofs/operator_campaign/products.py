"""Random cases of operators that multiply matrices, and of recurrent ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from draw import Draw, Wanted


def matmul(d: Draw) -> Wanted:
    """MatMul with batches that broadcast, vectors, and constants on either side."""
    rows, inner, columns = (d.number(1, 5) for _ in range(3))
    batch = d.shape(0, 2)
    left, right = (*batch, rows, inner), d.one((inner, columns), (*batch, inner, columns), (inner,))
    if d.chance(0.2):
        return Wanted([d.constant(d.floats(*left)), d.data(d.floats(*right))])
    return Wanted([d.data(d.floats(*left)), d.either(d.floats(*right))])


def gemm(d: Draw) -> Wanted:
    """Gemm, transposed and scaled, with a bias that broadcasts."""
    rows, inner, columns = (d.number(1, 5) for _ in range(3))
    turned = d.number(0, 1), d.number(0, 1)
    left = d.data(d.floats(*((inner, rows) if turned[0] else (rows, inner))))
    right = d.either(d.floats(*((columns, inner) if turned[1] else (inner, columns))))
    bias = d.either(d.floats(*d.one((columns,), (rows, 1), (rows, columns), (1,))))
    inputs = [left, right, bias] if d.opset < 11 or d.chance(0.6) else [left, right]
    return Wanted(inputs, {"transA": turned[0], "transB": turned[1], **d.some(alpha=0.5, beta=2.0)})


_EQUATIONS: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = (
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
    ("bij,jk->bik", (2, 3, 4), (4, 5)),
    ("ij,ij->i", (3, 4), (3, 4)),
    ("...id,...jd->...ij", (2, 3, 4), (2, 5, 4)),
    ("bhwc,hkc->bhwk", (1, 3, 4, 2), (3, 5, 2)),
)


def einsum(d: Draw) -> Wanted:
    """Einsum with equations that occur in models."""
    equation, left, right = d.one(*_EQUATIONS)
    return Wanted([d.data(d.floats(*left)), d.either(d.floats(*right))], {"equation": equation})


def recurrent(d: Draw) -> Wanted:
    """RNN, GRU and LSTM."""
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[d.op]
    time, batch, size, hidden = 3, d.number(1, 2), 4, d.number(1, 3)
    ways = d.one(1, 1, 2)
    way = "bidirectional" if ways == 2 else d.one("forward", "reverse")
    given = {"hidden_size": hidden, "direction": way, **d.some(linear_before_reset=1)}
    parts = [d.floats(ways, gates * hidden, size), d.floats(ways, gates * hidden, hidden)]
    if d.chance(0.6):
        parts.append(d.floats(ways, 2 * gates * hidden))
    return Wanted([d.data(d.floats(time, batch, size)), *map(d.constant, parts)], given, d.number(1, 2))


def attention(d: Draw) -> Wanted:
    """Attention of opset 23: three or four axes, grouped heads, float and boolean masks."""
    heads, groups, length, keys, size = 4, d.one(2, 4), d.number(2, 5), d.number(2, 5), 8
    if d.chance(0.5):
        shapes: list[tuple[int, ...]] = [(1, heads, length, size), *[(1, groups, keys, size)] * 2]
        given = {}
    else:
        shapes = [(1, length, heads * size), *[(1, keys, groups * size)] * 2]
        given = {"q_num_heads": heads, "kv_num_heads": groups}
    inputs = [d.data(d.floats(*shape)) for shape in shapes]
    if d.chance(0.5):
        mask = d.floats(length, keys)
        mask = mask > -1 if d.chance(0.5) else mask
        inputs.append(d.either(mask))
    return Wanted(inputs, {**given, **d.some(is_causal=1, scale=0.3, softcap=2.0)})


def rotary(d: Draw) -> Wanted:
    """RotaryEmbedding."""
    x = d.data(d.floats(1, 2, 3, 4))
    angles = d.floats(1, 3, 2)
    return Wanted([x, d.constant(np.cos(angles)), d.constant(np.sin(angles))], d.some(interleaved=1))


def determinant(d: Draw) -> Wanted:
    """Det."""
    return Wanted([d.data(d.floats(d.number(1, 2), 3, 3))])


PRODUCTS: Mapping[str, Callable[[Draw], Wanted]] = {
    "MatMul": matmul, "Gemm": gemm, "Einsum": einsum, "RNN": recurrent, "GRU": recurrent, "LSTM": recurrent,
    "Attention": attention, "RotaryEmbedding": rotary, "Det": determinant,
}  # fmt: skip
