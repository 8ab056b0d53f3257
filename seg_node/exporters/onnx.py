"""To ONNX: one fused graph with a static shape, uint8 NHWC pixels in, uint8 class ids out."""

import logging
import warnings
from pathlib import Path

import torch

from seg_node.model_card import ModelCard
from seg_node.networks._deployed import Deployed
from seg_node.runtimes.torch import load_network

OPSET = 18
INPUT, OUTPUTS = "image", ["label", "confidence"]


def export(card: ModelCard, path: Path, confidence: bool = False) -> Path:
    """Write the card's network, with its normalisation and argmax, to ``path``; ``confidence``: as a second output.

    Raises CardError where the weights cannot be used.
    """
    import onnx

    deployed = Deployed(load_network(card), card.mean, card.std, card.scale).eval()
    deployed.confidence = confidence
    example = torch.zeros((1, *card.size, 3), dtype=torch.uint8)
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
    return path
