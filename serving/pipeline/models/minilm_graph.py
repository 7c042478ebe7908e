"""all-MiniLM-L6-v2 written out as an ONNX graph whose weights stay where they are, in `model.safetensors`.

The graph reads one text at a time, so it needs neither padding nor an attention mask, and a text's vector cannot depend on
the texts beside it.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

Precision = Literal["fp32", "int8"]
Smoothing = Mapping[str, Mapping[int, int]]  # block of layers → input channel → power of two that its weights are multiplied by

LAYERS = 6
HEADS = 12
WIDTH = 384
EPSILON = 1e-12  # of the layer norms
OPSET, MICROSOFT_OPSET, IR_VERSION = 20, 1, 10
SMALLEST_ROW = 0.17  # rows of the last product below this are not stretched: they would only magnify noise


@dataclass(frozen=True, slots=True)
class TensorLocation:
    """Where one tensor lies in the file of weights."""

    shape: tuple[int, ...]
    offset: int
    length: int


def tensor_places(weights: Path) -> dict[str, TensorLocation]:
    """Every float32 tensor of a safetensors file by name."""
    with weights.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
    start = 8 + size
    return {
        name: TensorLocation(tuple(entry["shape"]), start + entry["data_offsets"][0], entry["data_offsets"][1] - entry["data_offsets"][0])
        for name, entry in header.items()
        if name != "__metadata__" and entry["dtype"] == "F32"
    }


def read_smoothing(path: Path) -> Smoothing:
    """The exponents that were calibrated for int8; channels not named have 0."""
    blocks = json.loads(path.read_text(encoding="utf-8"))
    return {block: {int(channel): exponent for channel, exponent in channels.items()} for block, channels in blocks.items()}


def build_graph(weights: Path, precision: Precision, smoothing: Smoothing) -> bytes:
    """The model's bytes: input `input_ids` (tokens,), outputs `sentence` (384,), unit length, and `tokens` (tokens, 384)."""
    graph = _Graph(weights)
    linear: _Linear = _Int8(graph, smoothing) if precision == "int8" else _Linear(graph)
    x = _embed(graph)
    for layer in range(LAYERS):
        x = _layer(graph, linear, x, f"encoder.layer.{layer}")
    graph.node("Identity", x, name="tokens")
    mean = graph.node("ReduceMean", x, graph.integers(0), keepdims=0)
    graph.node("LpNormalization", mean, name="sentence", axis=-1, p=2)
    return graph.finish()


class _Graph:
    """Collects nodes and constants; every method returns the name of a value."""

    def __init__(self, weights: Path) -> None:
        self.weights = weights
        self.places = tensor_places(weights)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def node(self, kind: str, *inputs: str, name: str = "", domain: str = "", **attributes: Any) -> str:
        """One operation with one output."""
        return self.node_of_many(kind, inputs, [name or f"{kind}_{len(self._nodes)}"], domain, **attributes)[0]

    def node_of_many(self, kind: str, inputs: tuple[str, ...], outputs: list[str], domain: str = "", **attributes: Any) -> list[str]:
        """One operation with several outputs."""
        from onnx import helper

        self._nodes.append(helper.make_node(kind, list(inputs), outputs, name=outputs[0], domain=domain, **attributes))
        return outputs

    def weight(self, name: str) -> str:
        """A tensor that stays in the file of weights, by its offset."""
        from onnx import TensorProto

        if name not in self._constants:
            place = self.places[name]
            tensor = TensorProto(name=name, dims=place.shape, data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
            for key, value in {"location": self.weights.name, "offset": place.offset, "length": place.length}.items():
                tensor.external_data.add(key=key, value=str(value))
            self._constants[name] = tensor
        return name

    def values(self, name: str) -> NDArray[np.float32]:
        """The numbers of a tensor, read from the file."""
        place = self.places[name]
        return np.fromfile(self.weights, "<f4", place.length // 4, offset=place.offset).reshape(place.shape)

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """A tensor held in the graph itself."""
        from onnx import numpy_helper

        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def integers(self, *values: int) -> str:
        """A small list of integers: a shape, axes, bounds."""
        return self.constant("integers_" + "_".join(map(str, values)), np.array(values, np.int64))

    def number(self, value: float) -> str:
        """One number."""
        return self.constant(f"number_{value}", np.array([value], np.float32))

    def finish(self) -> bytes:
        """The whole model."""
        from onnx import TensorProto, helper

        graph = helper.make_graph(
            self._nodes,
            "minilm",
            inputs=[helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["tokens"])],
            outputs=[
                helper.make_tensor_value_info("sentence", TensorProto.FLOAT, [WIDTH]),
                helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["tokens", WIDTH]),
            ],
            initializer=list(self._constants.values()),
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", MICROSOFT_OPSET)]
        model = helper.make_model(graph, producer_name="touchstone", opset_imports=opsets, ir_version=IR_VERSION)
        return bytes(model.SerializeToString())


class _Linear:
    """Products with a weight matrix and a bias, in float32."""

    def __init__(self, graph: _Graph) -> None:
        self.graph = graph

    def prepare(self, x: str, block: str) -> Any:
        """What the products of one block share: its input, quantised where that is how they work."""
        return x

    def product(self, x: Any, name: str) -> str:
        """`x @ weight.T + bias`; Gemm takes torch's layout as it lies in the file."""
        return self.graph.node("Gemm", x, self.graph.weight(f"{name}.weight"), self.graph.weight(f"{name}.bias"), transB=1)

    def stretched_product(self, x: str, name: str) -> str:
        """The product after the Gelu, whose rows differ most in size."""
        return self.product(x, name)


@dataclass(frozen=True, slots=True)
class _Quantised:
    """An input as unsigned bytes, with what they mean."""

    values: str
    scale: str
    zero: str
    exponents: NDArray[np.float32]  # per channel; the weights take what the input gave


class _Int8(_Linear):
    """The same products on bytes: weights quantised per output column, inputs per text.

    A few input channels are far larger than the rest; powers of two, calibrated once, move their size into the weights.
    """

    def __init__(self, graph: _Graph, smoothing: Smoothing) -> None:
        super().__init__(graph)
        self._smoothing = smoothing

    def prepare(self, x: str, block: str) -> _Quantised:
        graph = self.graph
        factors = np.ones(WIDTH, np.float32)
        for channel, exponent in self._smoothing.get(block, {}).items():
            factors[channel] = np.float32(2.0**exponent)
        if not np.all(factors == 1):
            x = graph.node("Mul", x, graph.constant(f"{block}.smoothing", 1 / factors))
        return self._quantise(x, block, factors)

    def product(self, x: _Quantised, name: str) -> str:
        return self._multiply(x, name, self.graph.weight(f"{name}.bias"))

    def stretched_product(self, x: str, name: str) -> str:
        graph = self.graph
        largest = graph.node("Max", graph.node("ReduceMax", x, graph.integers(-1), keepdims=1), graph.number(SMALLEST_ROW))
        stretched = self._quantise(graph.node("Div", x, largest), name, np.ones(graph.places[f"{name}.weight"].shape[1], np.float32))
        shrunk = graph.node("Mul", self._multiply(stretched, name, bias=""), largest)
        return graph.node("Add", shrunk, graph.weight(f"{name}.bias"))

    def _quantise(self, x: str, block: str, factors: NDArray[np.float32]) -> _Quantised:
        outputs = [f"{block}.{part}" for part in ("bytes", "scale", "zero")]
        values, scale, zero = self.graph.node_of_many("DynamicQuantizeLinear", (x,), outputs)
        return _Quantised(values, scale, zero, factors)

    def _multiply(self, x: _Quantised, name: str, bias: str) -> str:
        weight = self.graph.values(f"{name}.weight").T * x.exponents[:, None]
        scale = np.abs(weight).max(axis=0) / np.float32(127)
        quantised = self.graph.constant(f"{name}.int8", np.rint(weight / scale).astype(np.int8))
        scales = self.graph.constant(f"{name}.scales", scale)
        inputs = [x.values, quantised, x.scale, scales, x.zero, "", *([bias] if bias else [])]
        return self.graph.node("MatMulIntegerToFloat", *inputs, domain="com.microsoft")


def _embed(graph: _Graph) -> str:
    """Words, their places and the one segment there is, added and normalised."""
    words = graph.node("Gather", graph.weight("embeddings.word_embeddings.weight"), "input_ids")
    count = graph.node("Shape", "input_ids")
    zero, one = graph.integers(0), graph.integers(1)
    positions = graph.node("Slice", graph.weight("embeddings.position_embeddings.weight"), zero, count, zero)
    segment = graph.node("Slice", graph.weight("embeddings.token_type_embeddings.weight"), zero, one, zero)
    return _norm(graph, graph.node("Add", words, graph.node("Add", positions, segment)), "embeddings.LayerNorm")


def _layer(graph: _Graph, linear: _Linear, x: str, prefix: str) -> str:
    """One layer of the transformer: attention, then the two wide products."""
    mixed = linear.prepare(_attention(graph, linear, x, f"{prefix}.attention.self"), f"{prefix}.attention.output.dense")
    attended = graph.node("Add", linear.product(mixed, f"{prefix}.attention.output.dense"), x)
    x = _norm(graph, attended, f"{prefix}.attention.output.LayerNorm")
    wide = linear.product(linear.prepare(x, f"{prefix}.intermediate.dense"), f"{prefix}.intermediate.dense")
    narrow = linear.stretched_product(graph.node("Gelu", wide), f"{prefix}.output.dense")
    return _norm(graph, graph.node("Add", narrow, x), f"{prefix}.output.LayerNorm")


def _attention(graph: _Graph, linear: _Linear, x: str, prefix: str) -> str:
    """Every token's mixture of all tokens, head by head."""
    depth = WIDTH // HEADS
    shared = linear.prepare(x, prefix)

    def heads(name: str, order: tuple[int, int, int]) -> str:
        split = graph.node("Reshape", linear.product(shared, f"{prefix}.{name}"), graph.integers(-1, HEADS, depth))
        return graph.node("Transpose", split, perm=order)

    query, key, value = heads("query", (1, 0, 2)), heads("key", (1, 2, 0)), heads("value", (1, 0, 2))
    scores = graph.node("Mul", graph.node("MatMul", query, key), graph.number(depth**-0.5))
    mixed = graph.node("MatMul", graph.node("Softmax", scores, axis=-1), value)
    return graph.node("Reshape", graph.node("Transpose", mixed, perm=(1, 0, 2)), graph.integers(-1, WIDTH))


def _norm(graph: _Graph, x: str, name: str) -> str:
    """A layer norm."""
    return graph.node("LayerNormalization", x, graph.weight(f"{name}.weight"), graph.weight(f"{name}.bias"), axis=-1, epsilon=EPSILON)
