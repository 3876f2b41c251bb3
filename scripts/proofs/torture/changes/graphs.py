"""Changes ONNX models as graphs: connections, declared types and shapes, nested graphs and functions."""

from __future__ import annotations

import random
from collections.abc import Callable

import onnx
from onnx import TensorProto, helper

_OPS = (
    "Conv", "ConvTranspose", "MatMul", "Gemm", "Softmax", "Resize", "Reshape", "Concat", "Split", "Slice",
    "Gather",
    "If", "Loop", "Scan", "Einsum", "QuantizeLinear", "DequantizeLinear", "Cast", "Identity", "Constant",
    "Attention",
    "LayerNormalization", "GroupNormalization", "MaxPool", "TopK", "NonMaxSuppression", "Pad", "Expand",
    "Range",
    "LSTM", "Clip", "Shape", "ConstantOfShape", "Tile", "GridSample", "RoiAlign", "ImageDecoder",
    "StringSplit", "",
)  # fmt: skip
_HOLLOW = (
    ("Identity", "x", ()), ("RegexFullMatch", "x", ()), ("MatMulInteger", "xx", ()), ("Conv", "xx", ()),
    ("LayerNormalization", "xx", ("axis",)), ("GatherND", "xx", ("batch_dims",)), ("Einsum", "xx", ()),
    ("Cast", "x", ()), ("DFT", "x x", ()), ("Softmax", "x", ("axis",)), ("QuantizeLinear", "xx", ("axis",)),
    ("Flatten", "x", ("axis",)), ("Split", "xx", ("axis", "num_outputs")), ("Gather", "xx", ("axis",)),
    ("BatchNormalization", "xxxxx", ("training_mode",)), ("Col2Im", "xxx", ()), ("Loop", " x", ()),
)  # fmt: skip
"""Operators, what feeds them (a space is an empty name), and attributes to change."""
_SIZES = (0, -1, -(1 << 62), 1, 2, 7, 1 << 20, 1 << 31, 1 << 40, (1 << 63) - 1)


def graph(data: bytes, dice: random.Random) -> bytes:
    """Change a model in a few places."""
    model = onnx.ModelProto.FromString(data)
    for _ in range(dice.choice((1, 1, 1, 2))):
        dice.choice(_MOVES)(model, dice)
    return bytes(model.SerializeToString())


def grafted(data: bytes, other: bytes, dice: random.Random) -> bytes:
    """A model with parts of another model in it."""
    model, stranger = onnx.ModelProto.FromString(data), onnx.ModelProto.FromString(other)
    field = dice.choice(("node", "initializer", "input", "output", "value_info"))
    mine, theirs = getattr(model.graph, field), getattr(stranger.graph, field)
    if mine and theirs:
        mine[dice.randrange(len(mine))].CopyFrom(dice.choice(list(theirs)))
        mine.extend([dice.choice(list(theirs))] * dice.randint(0, 2))
    return bytes(model.SerializeToString())


def _rewire(model: onnx.ModelProto, dice: random.Random) -> None:
    """Rename an input or output of a node to any value: this makes cycles, duplicates, dangling names."""
    names = [name for node in model.graph.node for name in (*node.input, *node.output)]
    node = dice.choice(list(model.graph.node))
    side = dice.choice((node.input, node.output))
    if side:
        side[dice.randrange(len(side))] = dice.choice(
            [*names, "", "absent", names[0] * 2000, "a\nb", "\x1b[2J"]
        )


def _swap(model: onnx.ModelProto, dice: random.Random) -> None:
    """Swap two nodes, weights or declared values."""
    field = dice.choice(("node", "initializer", "input", "output"))
    items = getattr(model.graph, field)
    if len(items) < 2:
        return
    first, second = dice.sample(range(len(items)), 2)
    kept = type(items[0])()
    kept.CopyFrom(items[first])
    items[first].CopyFrom(items[second])
    items[second].CopyFrom(kept)


def _operator(model: onnx.ModelProto, dice: random.Random) -> None:
    node = dice.choice(list(model.graph.node))
    node.op_type = dice.choice(_OPS)
    if dice.random() < 0.3:
        node.domain = dice.choice(("ai.onnx", "com.microsoft", "a" * 300, "ai.onnx.ml", "pkg.torch"))
    if dice.random() < 0.3:
        del node.input[dice.randrange(len(node.input) + 1) :]


def _attribute(model: onnx.ModelProto, dice: random.Random) -> None:
    node = dice.choice(list(model.graph.node))
    names = [attribute.name for attribute in node.attribute]
    other = (
        "axis",
        "pads",
        "strides",
        "group",
        "kernel_shape",
        "to",
        "perm",
        "dilations",
        "mode",
        "axes",
        "value",
    )
    values = (
        dice.choice(_SIZES), [dice.choice(_SIZES) for _ in range(dice.randrange(9))], "SAME_UPPER",
        b"\xff\xfe",
        float("nan"), [1e38, float("inf")], ["a", "b"], helper.make_graph([], "g", [], []),
        next(iter(model.graph.initializer), 1),
    )  # fmt: skip
    name, value = dice.choice([*names, *other]), dice.choice(values)
    kind = onnx.AttributeProto.INTS if value == [] else None
    node.attribute.append(helper.make_attribute(name, value, attr_type=kind))
    if dice.random() < 0.5 and names:
        node.attribute.remove(dice.choice([one for one in node.attribute if one.name in names]))


def _tensor(model: onnx.ModelProto, dice: random.Random) -> None:
    if not model.graph.initializer:
        return
    tensor = dice.choice(list(model.graph.initializer))
    match dice.randrange(8):
        case 0:
            tensor.dims.append(dice.choice(_SIZES))
        case 1 if tensor.dims:
            tensor.dims[dice.randrange(len(tensor.dims))] = dice.choice(_SIZES)
        case 2:
            tensor.data_type = dice.choice([*range(26), 999, -1])
        case 3:
            tensor.raw_data = tensor.raw_data[: dice.choice((0, 1, 3, len(tensor.raw_data) // 2))]
        case 4:
            tensor.float_data.extend([float("nan")] * dice.choice((1, 9)))
        case 5:
            tensor.raw_data = dice.choice((b"\xff", b"\x7f")) * len(tensor.raw_data)
        case 6:
            tensor.data_location = TensorProto.EXTERNAL
            places = ("/etc/passwd", "../x", "/dev/zero", "tiny.onnx", "", "a\0b", ".", "/proc/self/environ")
            pairs = (("location", dice.choice(places)), ("offset", dice.choice(("-1", "x", "9" * 30, "0"))),
                     ("length", dice.choice(("-1", "", "9" * 30, "4"))))  # fmt: skip
            for key, value in dice.sample(pairs, dice.randint(0, 3)):
                tensor.external_data.add(key=key, value=value)
        case _:
            tensor.name = dice.choice(("", "a" * 5000, model.graph.input[0].name, "\u202e", "a\nb"))


def _claim(model: onnx.ModelProto, dice: random.Random) -> None:
    """Change the declared type or shape of a value."""
    value = dice.choice([*model.graph.input, *model.graph.output, *model.graph.value_info])
    match dice.randrange(6):
        case 0:
            value.type.tensor_type.elem_type = dice.choice((*range(24), 999))
        case 1:
            value.type.Clear()
        case 2:
            value.type.sequence_type.elem_type.tensor_type.elem_type = 1
        case 3:
            value.type.optional_type.elem_type.sequence_type.elem_type.tensor_type.elem_type = 1
        case 4:
            value.type.tensor_type.shape.dim.add().dim_param = dice.choice(
                ("", "n", "1", "\x1b[2J", "a b", "-")
            )
        case _:
            dims = value.type.tensor_type.shape.dim
            if dims:
                dice.choice(list(dims)).dim_value = dice.choice(_SIZES)


def _header(model: onnx.ModelProto, dice: random.Random) -> None:
    match dice.randrange(6):
        case 0:
            model.ir_version = dice.choice((0, 1, 3, 99, (1 << 63) - 1, -1))
        case 1:
            dice.choice(list(model.opset_import)).version = dice.choice((0, -1, 1, 6, 8, 11, 12, 99, 1 << 40))
        case 2:
            model.opset_import.extend(
                [helper.make_opsetid(dice.choice(("", "ai.onnx", "x")), dice.randint(1, 22))]
            )
        case 3:
            del model.opset_import[:]
        case 4:
            model.metadata_props.add(key=dice.choice(("a", "pkg.torch.onnx")), value="\x1b[2J" * 100)
        case _:
            model.graph.ClearField(dice.choice(("input", "output", "node", "initializer", "name")))


def _function(model: onnx.ModelProto, dice: random.Random) -> None:
    """Add functions that call themselves, each other, or one that does not exist."""
    names = ("f", "g")
    for name in names[: dice.randint(1, 2)]:
        callee = dice.choice(("f", "g", "h"))
        body = [helper.make_node(callee, ["x"], ["y"], domain="d") for _ in range(dice.choice((1, 1, 2)))]
        model.functions.append(
            helper.make_function("d", name, ["x"], ["y"], body, [helper.make_opsetid("d", 1)])
        )
    model.opset_import.append(helper.make_opsetid("d", 1))
    node = dice.choice(list(model.graph.node))
    node.op_type, node.domain = "f", "d"


def _deep(model: onnx.ModelProto, dice: random.Random) -> None:
    """Nest graphs within graphs."""
    inner = helper.make_graph([], "g", [], [])
    for _ in range(dice.choice((2, 30, 90))):
        node = helper.make_node(
            "If", ["c"], ["y"], then_branch=inner, else_branch=helper.make_graph([], "e", [], [])
        )
        inner = helper.make_graph([node], "g", [], [])
    model.graph.node.append(inner.node[0] if inner.node else helper.make_node("If", [], []))


def _hollow(model: onnx.ModelProto, dice: random.Random) -> None:
    """Add a node that lacks what its operator requires, or whose attributes are beyond its inputs."""
    source = model.graph.input[0].name if model.graph.input else "x"
    operator, inputs, attributes = dice.choice(_HOLLOW)
    fed = [source if name == "x" else "" for name in inputs]
    numbers = {name: dice.choice((*_SIZES, -2, -9, 4)) for name in attributes}
    node = helper.make_node(operator, fed[: dice.randint(0, len(fed))], ["hollow"], **numbers)
    if operator == "Einsum":
        node.attribute.append(
            helper.make_attribute("equation", dice.choice(("\x1b[2J", "->", "ij...", "a" * 3000)))
        )
    model.graph.node.insert(dice.randrange(len(model.graph.node) + 1), node)


def _loops(model: onnx.ModelProto, dice: random.Random) -> None:
    """Add loops within loops: a few bytes that are any number of nodes when they are written out."""
    rounds = dice.choice((3, 16, 60, 2000))
    held = (("rounds", TensorProto.INT64, rounds), ("true", TensorProto.BOOL, True))
    model.graph.initializer.extend(
        [helper.make_tensor(name, kind, [], [value]) for name, kind, value in held]
    )
    node = helper.make_node("Relu", ["v0"], ["w0"])
    for level in range(dice.choice((1, 2, 3, 6))):
        given = [helper.make_tensor_value_info(f"i{level}", TensorProto.INT64, [])]
        given += [helper.make_tensor_value_info(f"c{level}", TensorProto.BOOL, []), _open_value(f"v{level}")]
        results = [helper.make_tensor_value_info(f"d{level}", TensorProto.BOOL, []), _open_value(f"w{level}")]
        passed = helper.make_node("Identity", [f"c{level}"], [f"d{level}"])
        body = helper.make_graph([node, passed], "body", given, results)
        node = helper.make_node("Loop", ["rounds", "true", f"v{level + 1}"], [f"w{level + 1}"], body=body)
    node.input[2] = model.graph.input[0].name if model.graph.input else "x"
    model.graph.node.append(node)
    model.graph.output.append(_open_value(node.output[0]))


def _open_value(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


def _many(model: onnx.ModelProto, dice: random.Random) -> None:
    """Append a long chain of the cheapest operator."""
    last = model.graph.output[0].name if model.graph.output else "x"
    for number in range(dice.choice((50, 2000))):
        model.graph.node.append(helper.make_node("Identity", [last], [f"n{number}"]))
        last = f"n{number}"


def _odd(model: onnx.ModelProto, dice: random.Random) -> None:
    """Set fields that hardly any model has."""
    match dice.randrange(4):
        case 0:
            sparse = model.graph.sparse_initializer.add()
            sparse.values.name = model.graph.initializer[0].name if model.graph.initializer else "s"
            sparse.dims.append(dice.choice(_SIZES))
        case 1:
            note = model.graph.quantization_annotation.add()
            note.tensor_name = "x"
            note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="absent")
        case 2:
            model.training_info.add().algorithm.node.add().op_type = "If"
        case _:
            node = dice.choice(list(model.graph.node))
            node.attribute.add(name="value", type=dice.choice(list(range(15))))


_Move = Callable[[onnx.ModelProto, random.Random], None]
_MOVES: tuple[_Move, ...] = (
    _rewire, _rewire, _swap, _operator, _operator, _attribute, _attribute, _tensor, _tensor, _claim, _claim,
    _header, _function, _deep, _many, _odd, _hollow,
    _hollow, _loops,
)  # fmt: skip
