"""The coding of a table's columns in front of a net in its .onnx form, so that it takes the columns by name as they are."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper

from sweep.data.columns import Column

INSIDE = "net/"  # before every name within, so that a column may have any name
ML_OPSET = 2


def add_columns(net: onnx.ModelProto, columns: Sequence[Column]) -> onnx.ModelProto:
    """Return a model with an input for each column, shape (n, 1), that does what `columns.code` does before the `net`.

    Inputs bear the names of the columns: strings for a category, "" where it is missing; double for all others, NaN where
    they are missing, 0 and 1 for truth values, days since 1970-01-01 for dates.
    """
    model = compose.add_prefix(net, INSIDE)
    graph, coded = model.graph, _Coded()
    for column in columns:
        coded.add(column)
    [rows] = [value.name for value in graph.input]
    nodes = [*coded.nodes, helper.make_node("Concat", coded.features, [rows], axis=1), *graph.node]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.input.extend(coded.inputs)
    graph.initializer.extend(coded.constants)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", ML_OPSET))
    return model


def to_inputs(rows: NDArray[np.float64], columns: Sequence[Column]) -> list[NDArray[Any]]:
    """Return rows as `columns.code` takes them, shape (n, n_columns), as the cells of each column, shape (n,)."""
    return [
        _to_values(cells, column) if column.kind == "category" else cells
        for cells, column in zip(rows.T, columns, strict=True)
    ]


def _to_values(places: NDArray[np.float64], column: Column) -> NDArray[Any]:
    another = "another"
    while another in column.values:
        another += "?"
    return np.array([*column.values, another], object)[places.astype(np.int64)]


class _Coded:
    """The parts of a graph that code columns, gathered."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.features: list[str] = []  # names of tensors, each of shape (n, k)

    def add(self, column: Column) -> None:
        is_text = column.kind == "category"
        self.inputs.append(
            helper.make_tensor_value_info(column.name, TensorProto.STRING if is_text else TensorProto.DOUBLE, [None, 1])
        )
        self.features += self._category(column) if is_text else self._number(column)

    def _category(self, column: Column) -> list[str]:
        n_values = len(column.values)
        keys, rest = column.values or ("",), n_values if column.has_rare else -1
        places = self._node(
            "LabelEncoder",
            column.name,
            domain="ai.onnx.ml",
            keys_strings=keys,
            values_int64s=range(len(keys)),
            default_int64=rest,
        )
        is_it = self._node("Equal", places, self._constant(np.arange(n_values + column.has_rare, dtype=np.int64)))
        return [self._node("Cast", is_it, to=TensorProto.DOUBLE)]

    def _number(self, column: Column) -> list[str]:
        is_missing = self._node("IsNaN", column.name)
        filled = self._node("Where", is_missing, self._constant(np.float64(column.fill)), column.name)
        angles = [
            self._node("Mul", filled, self._constant(np.float64(2 * math.pi / days))) for days in column.cycles.values()
        ]
        waves = [self._node(wave, angle) for angle in angles for wave in ("Sin", "Cos")]
        flags = [self._node("Cast", is_missing, to=TensorProto.DOUBLE)] if column.has_missing else []
        return [filled, *waves, *flags]

    def _node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"{INSIDE}coded_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def _constant(self, value: NDArray[Any] | np.generic) -> str:
        name = f"{INSIDE}constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name
