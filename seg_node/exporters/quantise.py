"""INT8 after training: NNCF finds value ranges on real images, and what that costs in mIoU is measured on others.

Where all in INT8 costs more than ``MAY_LOSE``, which is what "auto" gives for its speed, mixed precision is tried: NNCF
finds the layers that suffer most, on images of their own, and leaves them in fp32. The loss is measured through the
Segmenter and the runtime that a robot has, at the labels' own size. Images without labels have no mIoU: there, fp32's
own probabilities stand for the truth, which has so far said more loss than there was (an uncertain pixel that changes
counts in full, right or wrong).
"""

import contextlib
import dataclasses
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from seg_node.evaluation.confusion import Confusion
from seg_node.exporters import Source, _calibration
from seg_node.exporters._calibration import Batches, Images, Part
from seg_node.exporters._lean import UPSAMPLING
from seg_node.exporters.parity import MOST_LOST, ParityError
from seg_node.label_set import load_label_set
from seg_node.model_card import ModelCard
from seg_node.pipeline.frame import Frame
from seg_node.pipeline.network_input import NetworkInput
from seg_node.pipeline.segmenter import Segmenter
from seg_node.runtimes import MAY_LOSE
from seg_node.runtimes.openvino import OpenVinoRuntime

_LAYERS = 12  # that mixed precision tries to leave in fp32, one after the other
_RANKED = 12  # images by which it orders all layers, each of which is a graph to compile
_FEW = 30  # images from which ranges are found; fewer is worth a word


def check(source: Source) -> Images:
    """Return the images to work with. Raises ValueError without --calibrate, ImportError without NNCF, DatasetError."""
    with _quiet():
        _import_nncf()
    return _calibration.find(source.wanted.calibrate, load_label_set(source.card.label_set))


def quantise(source: Source, model: Any, images: Images, say: Callable[[str], None]) -> tuple[Any, dict[str, Any]]:
    """Return ``model`` (openvino.Model, uint8 NHWC to labels) in INT8, and what the card says of how it was made.

    Raises ParityError where it loses more than MOST_LOST of the mIoU in mixed precision too, unless forced.
    """
    card, force = source.card, source.wanted.force
    with _quiet():
        nncf = _import_nncf()
        meter = _Meter(source, images)
        if len(images.calibrate) < _FEW:
            say(f"{card.name}: only {len(images.calibrate)} images to calibrate on; 100 or more are better")
        say(f"{card.name}: calibrating on {len(images.calibrate)} images ({images.calibrate.name})")
        ranges = nncf.Dataset(meter.batches(images.calibrate))
        _fold(model)
        # asymmetric activations: many of these networks have PReLU, whose outputs are negative too
        how = {"preset": nncf.QuantizationPreset.MIXED, "subset_size": len(images.calibrate)}
        # what upsamples computes in floats: in INT8 its shares would be other ones, for no gain
        # what is compared (a maximum with where it came from, in ENet's and SegNet's pooling) must stay as it is, too
        kept = {"patterns": [f"{UPSAMPLING}.*"], "names": _around_infinity(model), "types": ["Equal"]}
        how["ignored_scope"] = nncf.IgnoredScope(**kept, validate=False)
        best, floats = nncf.quantize(model, ranges, **how), 0
        say(f"{card.name}: measuring on {len(images.measure)} other images ({images.measure.name})")
        before, after = meter.miou([model, best], images.measure)
        if before - after > MAY_LOSE:
            say(f"{card.name}: INT8 loses {100 * (before - after):.2f} points of mIoU; trying mixed precision")
            mixed = _mixed(nncf, model, ranges, meter, images.tune, how)
            (with_mixed,) = meter.miou([mixed], images.measure)
            if with_mixed > after:
                floats = _quantisers(best) - _quantisers(mixed)
                best, after = mixed, with_mixed
    lost = before - after
    if lost > MOST_LOST and not force:
        raise ParityError(
            f"{card.name}: INT8 loses {100 * lost:.2f} points of mIoU on {images.measure.name} "
            f"({_truth(images)}), mixed precision included; {100 * MOST_LOST:.0f} is the limit. The file is not used. "
            "Calibrate on more images of what the camera sees, choose --precision bf16 or fp16, or --force it"
        )
    return best, {
        "calibrated_on": f"{images.calibrate.name}, {len(images.calibrate)} images",
        "measured_on": f"{images.measure.name}, {len(images.measure)} images",
        "truth": _truth(images),
        "miou_fp32": round(before, 5),
        "miou_int8": round(after, 5),
        "miou_lost": round(lost, 5) + 0.0,
        "quantisers": _quantisers(best),
        "quantisers_left_out": floats,
        "nncf": nncf.__version__,
    }


def _fold(model: Any) -> None:
    """Compute what is constant. A grouped convolution's kernels come out of ONNX through a Reshape, behind which NNCF
    takes a column of the kernel for the channels; OpenVINO then computes the whole convolution in floats.
    """
    from openvino.passes import ConstantFolding, Manager

    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(model)


def _around_infinity(model: Any) -> list[str]:
    """Return the names of what pads with infinity, and of what takes it from there: it has no range."""
    pads = [op for op in model.get_ops() if op.get_type_name() == "Pad" and len(op.inputs()) == 4]
    values = {pad: pad.input(3).get_source_output().get_node() for pad in pads}
    endless = [pad for pad in pads if not np.isfinite(getattr(values[pad], "data", 0)).all()]
    users = [user.get_node() for pad in endless for user in pad.output(0).get_target_inputs()]
    return sorted({op.get_friendly_name() for op in [*endless, *users]})


def _truth(images: Images) -> str:
    return "labels" if images.label_set else "no labels there: fp32's own probabilities"


def _mixed(nncf: Any, model: Any, ranges: Any, meter: "_Meter", tune: Part, how: dict[str, Any]) -> Any:
    """Return the model with the layers that suffer most in fp32, found on the images ``tune``."""

    def validate(compiled: Any, indices: Iterable[int]) -> tuple[float, None]:
        chosen = dataclasses.replace(tune, indices=tuple(tune.indices[int(index)] for index in indices))
        return meter.miou([compiled], chosen)[0], None

    restore = nncf.AdvancedAccuracyRestorerParameters(
        max_num_iterations=_LAYERS, ranking_subset_size=min(_RANKED, len(tune)), num_ranking_workers=1
    )
    return nncf.quantize_with_accuracy_control(
        model,
        ranges,
        nncf.Dataset(list(range(len(tune)))),
        validate,
        max_drop=MAY_LOSE / 2,  # these images are few, and others decide
        advanced_accuracy_restorer_parameters=restore,
        **how,
    )


def _quantisers(model: Any) -> int:
    return sum(op.get_type_name() == "FakeQuantize" for op in model.get_ops())


class _Meter:
    """Feeds and scores graphs as a robot does."""

    def __init__(self, source: Source, images: Images) -> None:
        self._card, self._batch = _fused(source.card), source.wanted.batch
        self._logits = source.deployed.logits
        self._truth_set = images.label_set

    def batches(self, part: Part) -> Batches:
        return Batches(self._card, self._batch, part)

    def miou(self, models: Sequence[Any], part: Part) -> list[float]:
        """Return each one's mIoU; a model is an openvino.Model or CompiledModel."""
        segmenters = [Segmenter(self._card, self._runtime(model)) for model in models]
        own = segmenters[0].label_set
        scored = self._truth_set or own
        confusions = [Confusion(scored.class_count) for _ in models]
        shares = [np.zeros((self._card.classes, 256)) for _ in models]
        fit = NetworkInput(self._card)
        for index in range(len(part)):
            sample = part[index]
            frame = Frame(sample.image, "bgr")
            probabilities = None if self._truth_set else self._probabilities(fit.fit(frame))
            for number, segmenter in enumerate(segmenters):
                labels = segmenter.segment(frame).labels
                if probabilities is None:
                    confusions[number].add(sample.label, cv2.LUT(labels, own.to(scored)))
                else:
                    shares[number] += _shares(probabilities, labels)
        if self._truth_set:
            return [confusion.scores().miou for confusion in confusions]
        ignored = {*self._card.ignored_classes, own.void}
        return [_expected_miou(table, [i for i in range(own.class_count) if i not in ignored]) for table in shares]

    def _runtime(self, model: Any) -> OpenVinoRuntime:
        import openvino

        def compiled(kind: str, confidence: bool) -> Any:
            hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
            return model if hasattr(model, "create_infer_request") else openvino.compile_model(model, "CPU", hints)

        return OpenVinoRuntime(self._card, compiled, "openvino", "cpu", "int8")

    def _probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return float32 (classes, H, W) of uint8 (1, H, W, 3)."""
        with torch.inference_mode():
            found: np.ndarray = self._logits(torch.from_numpy(images)).softmax(1)[0].numpy()
        return found


def _fused(card: ModelCard) -> ModelCard:
    """Return the card as it is for our own graphs."""
    from seg_node.model_card import ModelFile

    file = ModelFile(Path(), None, layout="nhwc", dtype="uint8", output="labels", fused=True)
    return card._replace(files={"openvino": file}, output_name=None)


def _shares(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return float (classes, 256): how much of each true class, by its probability, is labelled what.

    probabilities: (classes, h, w); labels: uint8 (H, W), brought to (h, w).
    """
    height, width = probabilities.shape[1:]
    flat = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST).ravel()
    return np.stack([np.bincount(flat, weights=plane.ravel(), minlength=256) for plane in probabilities])


def _expected_miou(table: np.ndarray, classes: list[int]) -> float:
    """Return the mIoU of a table of shares; what is truly none of ``classes`` is left out."""
    hit = table[classes, classes]
    truth, predicted = table[classes].sum(1), table[classes].sum(0)[classes]
    return float(np.mean(hit / np.maximum(truth + predicted - hit, 1e-9)))


def _import_nncf() -> Any:
    os.environ.setdefault("NNCF_CI", "1")  # else it sends statistics of its use
    try:
        import nncf
    except ImportError as error:
        raise ImportError("--precision int8 for OpenVINO needs NNCF: pip install nncf") from error
    nncf.set_log_level(logging.ERROR)
    return nncf


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Send what NNCF prints, its progress, to stderr: stdout is for results."""
    with contextlib.redirect_stdout(sys.stderr):
        yield
