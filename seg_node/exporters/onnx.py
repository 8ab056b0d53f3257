"""To ONNX: one fused graph with a static shape, pixels in, class ids out.

Two borders. By default uint8 NHWC in and uint8 out, for current libraries; with the target tx2, float32 NHWC (0..255)
in and int32 out, in an opset that TensorRT 8.2's parser and ONNX Runtime 1.10 take. fp16 is the inside only: weights
and activations are half, what goes in and out is not.
"""

import copy
import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from seg_node.exporters import Artefact, Source

PRECISIONS = ("fp32", "fp16")
OPSET, OPSET_TX2 = 18, 13
INPUT, OUTPUTS = "image", ["label", "confidence"]


def write(source: Source, folder: Path, say: Callable[[str], None]) -> list[Artefact]:
    """Write the graph, and where confidence is wanted a second one that gives it beside the labels."""
    artefacts = []
    for confidence in [False, True][: 1 + source.wanted.confidence]:
        words = [source.wanted.target, "fp16" if source.wanted.precision == "fp16" else ""]
        words = [word for word in [*words, "confidence" if confidence else ""] if word]
        path = folder / ".".join([source.card.name, *words, "onnx"])
        opset = write_graph(source, path, confidence)
        keys = {"precision": source.wanted.precision, "opset": opset, "batch": source.wanted.batch}
        border = {"layout": "nhwc", "dtype": "uint8", "output": "labels", "fused": True}
        artefacts.append(Artefact("_".join(["onnx", *words]), path, {**keys, **border}, {}))
    return artefacts


def write_graph(source: Source, path: Path, confidence: bool = False) -> int:
    """Write the network with its normalisation and argmax to ``path`` and return the opset."""
    import onnx

    deployed = copy.deepcopy(source.deployed)
    deployed.confidence = confidence
    example = torch.zeros((source.wanted.batch, *source.card.size, 3), dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells of its own internals, and of torchvision
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            deployed,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            verbose=False,
            input_names=[INPUT],
            output_names=OUTPUTS if confidence else OUTPUTS[:1],
        )
    assert program is not None  # dynamo=True returns the program
    program.optimize()
    model = program.model_proto
    # the exporter notes where each node stood in our sources: paths of the exporting machine, of no use to a robot
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())
    return OPSET
