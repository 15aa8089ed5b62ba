"""The operators that a model may hold, for `verify.py`, which loads this file: a model from another hand must end."""

from collections.abc import Iterator

# What an MLP needs. None repeats anything, so a model of these ends: Loop, Scan and If, and what makes much of little, are out.
OPERATORS = {
    "Abs", "Add", "And", "BatchNormalization", "Cast", "Clip", "Constant", "Div", "Dropout", "Elu", "Equal", "Erf",
    "Exp", "Flatten", "Gemm", "Greater", "GreaterOrEqual", "HardSigmoid", "Identity", "LeakyRelu", "Less",
    "LessOrEqual", "Log", "LogSoftmax", "MatMul", "Max", "Min", "Mul", "Neg", "Not", "Or", "Pow", "PRelu",
    "Reciprocal", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Relu", "Reshape", "Selu", "Shape",
    "Sigmoid", "Sign", "Softmax", "Softplus", "Softsign", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Transpose",
    "Unsqueeze", "Where",
    "ai.onnx.ml.LabelEncoder", "Concat", "Cos", "IsNaN", "Sin",  # to code the columns of a table
}  # fmt: skip
ONCE = "Concat"  # a chain of these would make much of little


def check_operators(content: bytes) -> None:
    """Check the operators of the bytes of an .onnx file. Raises ValueError for any that no model of this program holds."""
    held = list(_list_operators(content))
    strange = sorted(set(held) - OPERATORS) or [f"several {ONCE}"] * (held.count(ONCE) > 1)
    if strange:
        raise ValueError(f"it holds {', '.join(strange)[:200]}, as no model of this program does")


def _list_operators(content: bytes) -> Iterator[str]:
    """Name the operator of each node of a model, ONNX' own without a domain. Raises ValueError for what is no model.

    The fields are those of onnx.proto: 7 the graph and 25 a function of a model, 1 a node of a graph, 4 and 7 the operator and
    the domain of a node. Graphs within attributes belong to operators that are named here themselves.
    """
    for field, graph in _fields(memoryview(content)):
        if field == 25:
            yield "a function of its own"
        for _, node in (one for one in _fields(graph) if one[0] == 1) if field == 7 else ():
            parts = [(number, bytes(text).decode()) for number, text in _fields(node) if number in (4, 7)]
            domains = [f"{text}." for number, text in parts if number == 7 and text]
            yield from ("".join([*domains, text]) for number, text in parts if number == 4)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the fields of a message of protobuf that hold bytes, each with its number."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        if key & 7 == 0:
            _, at = _varint(message, at)
            continue
        size, at = _varint(message, at) if key & 7 == 2 else ({1: 8, 5: 4}.get(key & 7, len(message)), at)
        if size > len(message) - at:
            raise ValueError("its fields do not end where they say")
        if key & 7 == 2:
            yield key >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Read a number of protobuf at a place; return it and the place after it."""
    for n, byte in enumerate(message[at : at + 10]):
        if byte < 128:
            return sum((b & 127) << 7 * i for i, b in enumerate(message[at : at + n + 1])), at + n + 1
    raise ValueError("a number in it does not end")
