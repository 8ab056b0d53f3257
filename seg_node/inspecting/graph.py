"""A graph of whichever format, as far as it matters here: who makes a tensor, who takes it, what is constant."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Node:
    op: str  # ONNX's names, for OpenVINO too
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    options: dict[str, Any] = dataclasses.field(default_factory=dict)  # some of its attributes, ONNX's names


class Graph:
    """Nodes in the order in which they run."""

    def __init__(self, nodes: Sequence[Node], constant: Callable[[str], np.ndarray | None]) -> None:
        """``constant``: a stored tensor by its name, float64 or an integer type; None where it is none."""
        self.nodes = nodes
        self._stored = constant
        self._makers = {output: node for node in nodes for output in node.outputs}
        self._takers: dict[str, list[Node]] = {}
        for node in nodes:
            for name in node.inputs:
                self._takers.setdefault(name, []).append(node)

    def maker(self, name: str) -> Node | None:
        return self._makers.get(name)

    def takers(self, name: str) -> list[Node]:
        """Return who computes with a tensor; who only asks for its shape does not count."""
        return [node for node in self._takers.get(name, []) if node.op not in ("Shape", "ShapeOf", "Size")]

    def constant(self, name: str) -> np.ndarray | None:
        """Return a tensor that is stored, as it is or a simple function of that; None for others."""
        stored = self._stored(name)
        if stored is not None:
            return stored
        node = self.maker(name)
        if node is None or not node.inputs:
            return None
        if node.op in ("Identity", "Cast", "Reshape", "Unsqueeze", "Squeeze", "DequantizeLinear", "Transpose"):
            inner = self.constant(node.inputs[0])
            if inner is not None and node.op == "DequantizeLinear":
                return np.asarray(inner, np.float64)  # its shape is right, its values are not used
            return inner
        if node.op in ("Mul", "Div", "Add", "Sub", "Sqrt", "Reciprocal"):
            values = [self.constant(given) for given in node.inputs]
            return None if any(value is None for value in values) else _compute(node.op, values)
        return None


def _compute(op: str, values: Sequence[Any]) -> np.ndarray:
    functions: dict[str, Callable[..., Any]] = {
        "Mul": np.multiply,
        "Div": np.divide,
        "Add": np.add,
        "Sub": np.subtract,
        "Sqrt": np.sqrt,
        "Reciprocal": np.reciprocal,
    }
    with np.errstate(all="ignore"):
        return np.asarray(functions[op](*values))
