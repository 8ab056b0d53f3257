"""PyTorch: a checkpoint's weights in the network that the card names."""

import inspect
import pickle
import re
import types
from typing import Any, Dict

import numpy as np

from seg_node.model_card import CARD_NAME, CardError, ModelCard
from seg_node.runtimes import Prediction, Runtime, check_precision
from seg_node.runtimes._threads import inference_threads

REQUIRES = "torch"
READS = {"torch": ("fp32", "fp16", "bf16")}
RANK = 30
ON_GPU = "lib/libtorch_cuda.so"


class TorchRuntime(Runtime):
    name = "torch"

    def __init__(self, card: ModelCard, network: Any, device: str, precision: str) -> None:
        super().__init__(card)
        from seg_node.networks._layout import needs_contiguous

        self._network, self.device, self.precision = network, device, precision
        self._contiguous = device.startswith("cpu") and precision != "fp32" and needs_contiguous(network)

    def _infer(self, images: np.ndarray) -> Prediction:
        import torch

        half = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(self.precision)
        kind = self.device.split(":")[0]
        self._network.confidence = self.wants_confidence
        with torch.inference_mode(), torch.autocast(kind, dtype=half or torch.bfloat16, enabled=half is not None):
            pixels = torch.from_numpy(np.require(images, requirements=["C", "W"])).to(self.device)
            if self._contiguous:  # the same shape, but each colour by itself in memory
                pixels = pixels.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
            labels = self._network(pixels)
        if self.wants_confidence:
            return Prediction(labels[0].cpu().numpy(), labels[1].cpu().numpy())
        return Prediction(labels.cpu().numpy())

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Return float32 (N, classes, H, W) for uint8 (N, H, W, 3): what the labels are the argmax of."""
        import torch

        with torch.inference_mode():
            logits = self._network.logits(torch.from_numpy(np.require(images, requirements=["C", "W"])).to(self.device))
        return np.asarray(logits.float().cpu().numpy())

    def close(self) -> None:
        self._network = None


def load(card: ModelCard, device: str = "auto", precision: str = "auto") -> TorchRuntime:
    """Build the card's network and load its weights.

    ``device``: auto (the GPU if there is one), cpu, or PyTorch's own names. ``precision``: auto (fp32), fp32, fp16 or
    bf16, by autocast. Raises ValueError for a device, precision or network that is not there, CardError where the
    weights are damaged or of another network.
    """
    import torch

    check_precision(precision, "fp32", "fp16", "bf16")

    gpu = torch.cuda.is_available()
    target = {"auto": "cuda" if gpu else "cpu", "gpu": "cuda"}.get(device, device)
    try:
        torch.empty(0, device=target)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            "device '{}' is not available to PyTorch here; choose auto or one of {}".format(
                device, "cpu, gpu" if gpu else "cpu"
            )
        ) from error
    if target == "cpu":
        torch.set_num_threads(min(torch.get_num_threads(), inference_threads()))
    network = load_network(card)
    from seg_node.networks._deployed import Deployed

    deployed = Deployed(network, card.mean, card.std, card.scale).eval().to(target)
    return TorchRuntime(card, deployed, target, "fp32" if precision == "auto" else precision)


def load_network(card: ModelCard) -> Any:
    """Return the card's network in eval mode on the CPU, with its weights: normalised floats to logits."""
    from seg_node import networks

    path = card.file("torch")
    try:
        network = networks.build(card.network, card.classes, **card.options)
    except ValueError as error:
        raise CardError("{}: {}".format(card.folder / CARD_NAME, error)) from error
    try:
        network.load_state_dict(read_weights(path))
    except RuntimeError as error:
        raise CardError(
            "{}: holds no weights of {} with {} classes and options {}: {}".format(
                path, card.network, card.classes, card.options, error
            )
        ) from error
    return network.eval()


def read_weights(path: Any) -> Dict[str, Any]:
    """Read a state dict; tensors only, nothing in the file is run. Raises CardError where it holds anything else."""
    import torch

    # PyTorch before 1.13 (JetPack 4.6 has 1.10) has no weights_only
    has_own = "weights_only" in inspect.signature(torch.load).parameters
    safely = {"weights_only": True} if has_own else {"pickle_module": _tensors_only()}
    try:
        state = torch.load(str(path), map_location="cpu", **safely)
    except Exception as error:  # a damaged pickle raises whatever its bytes spell
        code = re.search(r"GLOBAL (\S+)", str(error))
        if code:
            raise CardError(
                "{}: is read only by running {}, and a stranger's code is not run: in the program that made it, save "
                "network.state_dict() instead".format(path, code.group(1))
            ) from error
        # PyTorch's own first lines advise to run the file's code
        lines = [line.strip() for line in str(error).splitlines() if "weights_only" not in line.lower()]
        lines = [line for line in lines if line and not line.startswith(("Weights only load failed", "Check the doc"))]
        why = (lines or [type(error).__name__])[0]
        raise CardError("{}: no PyTorch weights, or a damaged file: {}".format(path, why)) from error
    if not isinstance(state, dict):
        raise CardError("{}: holds a {}, not a state dict".format(path, type(state).__name__))
    return state


class _TensorsOnly(pickle.Unpickler):
    """Finds what a state dict of tensors is made of, and nothing else that a pickle may name and so run."""

    def find_class(self, module: str, name: str) -> Any:
        wanted = (module, name) in (("collections", "OrderedDict"), ("torch._utils", "_rebuild_tensor_v2"))
        if not wanted and not (module == "torch" and name.endswith("Storage")):
            raise pickle.UnpicklingError("names {}.{}, which is no part of a tensor".format(module, name))
        return super().find_class(module, name)


def _tensors_only() -> types.ModuleType:
    """Return a stand-in for the module ``pickle``, as torch.load takes it."""
    module = types.ModuleType("tensors_only")
    module.__dict__.update(Unpickler=_TensorsOnly, load=lambda file, **how: _TensorsOnly(file, **how).load())
    return module
