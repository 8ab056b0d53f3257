"""The one interface behind which every network runs; each file here is a backend.

A backend is a module with

    REQUIRES  the library it imports, inside load() and nowhere else
    READS     the kinds of the card's files that it can run, best first, and what it may compute each in; the device
              decides whether it can. An INT8 file is taken unasked where it ``is_harmless`` only
    RANK      its place when "auto" chooses, fastest first as measured (docs/results); None: only by name
    ON_GPU    the file in its library that only a build for NVIDIA's GPUs has, if there is one: on a machine with such a
              GPU, that build comes before what runs on the CPU
    load(card, device, precision) -> Runtime
"""

import importlib.util
import logging
import os
from types import ModuleType
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from seg_node import plugins
from seg_node.model_card import CardError, ModelCard

PRECISIONS = ("auto", "fp32", "fp16", "bf16", "int8")
MAY_LOSE = 0.005  # of mIoU, as a share of 1: what "auto" gives for an INT8 file's speed
_log = logging.getLogger(__name__)
# NVIDIA's driver; a Jetson's; WSL's
_GPUS = ("/dev/nvidiactl", "/dev/nvgpu", "/dev/nvhost-gpu", "/usr/lib/wsl/lib/libcuda.so.1")


class CannotLoad(CardError):
    """A library cannot load a file that is whole: another one may."""

    def __init__(self, text: str, kind: str) -> None:
        """``kind``: of the card's file."""
        super().__init__(text)
        self.kind = kind


class CannotCompute(ValueError):
    """A library does not compute in a precision here: another one may."""


class Prediction(NamedTuple):
    """What a network says of N images."""

    labels: np.ndarray  # uint8 (N, H, W), class ids; 255 is unlabelled
    confidence: Optional[np.ndarray] = None  # uint8 (N, H, W), 255 is certain; None: not wanted, or not to be had


class Runtime:
    """One loaded network; one caller at a time.

    A backend implements ``_infer``; ``infer`` checks what it is given, the same way for all.
    """

    name = ""
    device = "cpu"  # where it runs, in the backend's own words
    precision = "fp32"  # what it computes in; a backend that does otherwise says so
    kind = ""  # of the card's file that it runs, where it was made from one
    batch: Optional[int] = None  # images that one inference takes; None: any number
    wants_confidence = False  # set by who uses it; may change between two inferences, and costs
    why_unsure = ""  # why the file that gives confidence cannot be used, once somebody has wanted it

    def __init__(self, card: ModelCard) -> None:
        self.card = card
        self.shape = tuple(card.size) + (3,)

    def infer(self, images: np.ndarray) -> Prediction:
        """Label images: uint8 (N, H, W, 3) of ``card.size``, in ``card.channels`` order.

        The arrays returned may be reused by the next call. Raises TypeError for another dtype and ValueError
        for another shape.
        """
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
            kind = getattr(images, "dtype", type(images).__name__)
            raise TypeError("images must be a uint8 array, not {}".format(kind))
        if images.ndim != 4 or images.shape[0] == 0 or images.shape[1:] != self.shape:
            raise ValueError(
                "images have shape {}; model '{}' wants (N, {}, {}, 3)".format(
                    images.shape, self.card.name, *self.card.size
                )
            )
        return self._infer(images)

    def _infer(self, images: np.ndarray) -> Prediction:
        raise NotImplementedError

    def _open_sure(self, open_file: Callable[[], Any]) -> Any:
        """Return what opens the file that gives confidence, None where it cannot be: labels go on without."""
        try:
            return open_file()
        except (OSError, ValueError) as error:
            self.why_unsure = "no confidence: {}".format(error)
            _log.warning(self.why_unsure)
            return None

    def close(self) -> None:
        """Free what the network holds; the runtime is not used afterwards."""


def names() -> List[str]:
    """Return the names of all backends, installed or not."""
    return plugins.names(__name__)


def backend(name: str) -> ModuleType:
    """Return a backend's module; its library is not imported. Raises ValueError listing the names there are."""
    return plugins.load(__name__, name)


def is_installed(name: str) -> bool:
    return importlib.util.find_spec(backend(name).REQUIRES) is not None


def choose(card: ModelCard, precision: str = "auto", device: str = "auto") -> str:
    """Return the fastest installed backend that can run one of ``card``'s files, in ``precision`` if one can.

    One that has a file of that very precision comes first, and INT8 that ``is_harmless`` not last. ``device``: "cpu"
    on a machine with a GPU means its CPU. Raises ValueError for none that runs any of them.
    """
    return _ranked(card, precision, device)[0]


def _ranked(card: ModelCard, precision: str, device: str) -> List[str]:
    """Return what ``choose`` may choose, best first; one or more."""
    usable = {name: file_kind(card, name) or "" for name in names() if backend(name).RANK is not None}
    usable = {name: kind for name, kind in usable.items() if kind}
    gpu = device.lower() != "cpu" and any(os.path.exists(path) for path in _GPUS)

    def order(name: str) -> Tuple[bool, bool, bool, int]:
        on_cpu = not (gpu and _is_for_gpus(name))
        return not _holds(card, name, precision), not is_harmless(card, usable[name]), on_cpu, backend(name).RANK

    installed = [name for name in sorted(usable, key=order) if is_installed(name)]
    if not installed:
        raise ValueError(
            "model '{}' ({}) runs with {}; none is installed: pip install one of them".format(
                card.name, ", ".join(card.files) or "no files", ", ".join(usable) or "no backend here"
            )
        )
    # where none fits, the fastest explains what it can do
    return [name for name in installed if precision == "auto" or precision in _precisions(card, name)] or installed


def _is_for_gpus(name: str) -> bool:
    """Whether the installed library is a build for NVIDIA's GPUs; it is not imported."""
    module = backend(name)
    found = importlib.util.find_spec(module.REQUIRES) if hasattr(module, "ON_GPU") else None
    folders = (found.submodule_search_locations or []) if found else []
    return any(os.path.exists(os.path.join(folder, module.ON_GPU)) for folder in folders)


def file_kind(card: ModelCard, name: str) -> Optional[str]:
    """Return the kind of the card's file that backend ``name`` would read unasked, or None."""
    reads: Dict[str, Tuple[str, ...]] = backend(name).READS
    kinds = [kind for kind in reads if kind in card.files]
    return next((kind for kind in kinds if is_harmless(card, kind)), kinds[0] if kinds else None)


def is_harmless(card: ModelCard, kind: str) -> bool:
    """Whether a file of the card may be taken unasked.

    Any that is not INT8. An INT8 one of the card's weights that passed the parity gate, by the card lost at most
    ``MAY_LOSE`` on labelled images, takes one image, labels every pixel, and gives a confidence if other exported files
    do.
    """
    if not kind.endswith("_int8"):
        return True
    notes = card.files[kind].notes
    how, parity = notes.get("calibration"), notes.get("parity")
    if not isinstance(how, dict) or how.get("truth") != "labels" or card.stale(kind):
        return False
    lost = how.get("miou_lost")
    others = [other for name, other in card.files.items() if name != kind]
    unsure = any(other.notes.get("confidence") for other in others) or "onnx_confidence" in card.files
    return (
        isinstance(lost, (int, float))
        and lost <= MAY_LOSE
        and not (isinstance(parity, dict) and parity.get("passed") is False)
        and notes.get("batch", 1) == notes.get("label_stride", 1) == 1
        and (bool(notes.get("confidence")) or not unsure)
    )


def _precisions(card: ModelCard, name: str) -> List[str]:
    """Return what backend ``name`` may compute the card's files in."""
    return [each for kind, can in backend(name).READS.items() if kind in card.files for each in can]


def _holds(card: ModelCard, name: str, precision: str) -> bool:
    """Whether a file that backend ``name`` reads was exported in ``precision``."""
    kinds = [kind for kind in backend(name).READS if kind in card.files]
    return any(card.files[kind].notes.get("precision") == precision for kind in kinds)


def check_precision(wanted: str, *possible: str) -> None:
    """Raise CannotCompute unless ``wanted`` is "auto" or one of those that a backend can compute in here."""
    if wanted not in ("auto",) + possible:
        raise CannotCompute("precision '{}' is not possible here; choose auto, {}".format(wanted, ", ".join(possible)))


def load_runtime(card: ModelCard, runtime: str = "auto", device: str = "auto", precision: str = "auto") -> Runtime:
    """Load ``card``'s network in a backend; "auto" takes the fastest that is installed and has the precision.

    ``precision``: one of ``PRECISIONS``; auto is what the exported file holds, INT8 where it ``is_harmless``. Where
    "auto"'s first choice cannot load a whole file, as may be with a stranger's graph, another that reads it is tried;
    and where it does not compute in ``precision`` on this device, another that may.

    Raises ValueError (no such backend, device or precision), CardError or FileNotFoundError (the file is missing,
    damaged or not what its name says), ImportError that says what to install.
    """
    if runtime != "auto":
        return _load(card, runtime, device, precision)
    first, *others = _ranked(card, precision, device)
    try:
        return _load(card, first, device, precision)
    except (CannotLoad, CannotCompute) as error:
        for name in others:
            if isinstance(error, CannotLoad) and error.kind not in backend(name).READS:
                continue
            try:
                loaded = _load(card, name, device, precision)
            except (ValueError, OSError, ImportError):
                continue
            _log.warning("%s; %s runs it instead", error, name)
            return loaded
        raise


def _load(card: ModelCard, name: str, device: str, precision: str) -> Runtime:
    module = backend(name)
    if not is_installed(name):
        raise ImportError("runtime '{0}' needs {1}: pip install {1}".format(name, module.REQUIRES))
    loaded: Runtime = module.load(card, device, precision)
    return loaded
