"""Why a network labels as it does: Grad-CAM (Selvaraju et al., ICCV 2017) and the maps of its classes.

For segmentation the score of a class is the sum of its logits over the pixels asked about (those labelled so, unless
said otherwise); for a classifier it is its logit. Works from the torch weights, on the CPU, in the network that the
robot runs. The C3 paper's figures 5 and 7 and Dual ASPP's figure 4 are such pictures.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from seg_node.model_card import ModelCard
from seg_node.networks._deployed import Deployed
from seg_node.pipeline.frame import Frame
from seg_node.pipeline.network_input import NetworkInput
from seg_node.runtimes.torch import load_network

_COARSEST = 64  # a map of fewer than 1/64 of the input's rows is a pooled summary, no picture


class Layer(NamedTuple):
    """A part of the network whose output can be looked at."""

    name: str
    kind: str
    channels: int
    size: tuple[int, int]  # (h, w)


class View(NamedTuple):
    """What a network makes of an image, at the network's size (H, W)."""

    labels: np.ndarray  # uint8 (H, W), the network's outputs
    logits: np.ndarray  # float32 (classes, H, W)
    probabilities: np.ndarray  # float32 (classes, H, W), softmax

    def of(self, class_id: int) -> np.ndarray:
        """Return bool (H, W): where the network says this class."""
        return self.labels == class_id


class Explainer:
    """One network and one image."""

    def __init__(self, card: ModelCard, image: np.ndarray) -> None:
        """``image``: uint8 (H, W, 3) BGR, any size. Raises CardError where the model has no torch weights."""
        self._deployed = Deployed(load_network(card), card.mean, card.std, card.scale).eval()
        self._deployed.requires_grad_(False)
        self._images = torch.from_numpy(NetworkInput(card).fit(Frame(np.ascontiguousarray(image), "bgr")).copy())
        self.classes = card.classes
        self.layers = self._trace()

    def view(self) -> View:
        logits = self._logits().detach()[0]
        return View(logits.argmax(0).to(torch.uint8).numpy(), logits.numpy(), torch.softmax(logits, dim=0).numpy())

    def default_layer(self) -> str:
        """Return the last layer at the coarsest resolution: what the encoder knows before classes are made of it."""
        height = self._images.shape[1]
        maps = [layer for layer in self.layers if layer.size[0] * _COARSEST > height and min(layer.size) > 1]
        features = [layer for layer in maps if layer.channels > self.classes] or maps
        features = [layer for layer in features if not self._decodes(layer)] or features
        if not features:
            raise ValueError("no layer of this network gives a map; name one with --layer")
        coarsest = min(layer.size for layer in features)
        return [layer for layer in features if layer.size == coarsest][-1].name

    def _decodes(self, layer: Layer) -> bool:
        """Tell whether this is a part of a module named so, or of one that gives a larger map."""
        if "decoder" in layer.name.split("."):
            return True
        above = [known for known in self.layers if layer.name.startswith(known.name + ".")]
        return any(known.size > layer.size for known in above)

    def grad_cam(self, class_id: int, layer: str, where: np.ndarray | None = None) -> np.ndarray:
        """Return float32 (H, W), 0 to 1: how much each place of ``layer`` speaks for the class, largest 1.

        ``where``: bool (H, W), the pixels whose logits are explained; None: all. All zero where nothing speaks for it.
        Raises ValueError for a layer that is not there, or that the class's logits do not depend on.
        """
        if layer not in [known.name for known in self.layers]:
            raise ValueError(f"the network has no layer '{layer}' that gives a map; --layers lists them")
        kept: list[torch.Tensor] = []

        def keep(output: torch.Tensor) -> torch.Tensor:
            kept.append(output.detach().clone().requires_grad_())
            return kept[-1].clone()  # what follows may work in place

        with torch.enable_grad(), self._hooked({layer: keep}):
            logits = self._logits()[0, class_id]
            score = logits.sum() if where is None else logits[torch.from_numpy(where)].sum()
            (gradient,) = torch.autograd.grad(score, kept[-1], allow_unused=True) if score.requires_grad else (None,)
        if gradient is None:
            raise ValueError(f"layer '{layer}' has no influence on the logits; choose another (--layers lists them)")
        weights = gradient.mean(dim=(2, 3), keepdim=True)
        cam = functional.relu((weights * kept[-1].detach()).sum(1, keepdim=True))
        cam = functional.interpolate(cam, size=self._images.shape[1:3], mode="bilinear", align_corners=False)[0, 0]
        return (cam / cam.max().clamp_min(1e-12)).numpy()

    def _logits(self) -> torch.Tensor:
        """Return float (1, classes, H, W); a classifier's logits are the same everywhere."""
        logits = self._deployed.logits(self._images)
        if logits.ndim == 2:
            return logits[:, :, None, None].expand(-1, -1, *self._images.shape[1:3])
        return logits

    def _trace(self) -> list[Layer]:
        """Return the layers in the order in which they finish, each as it was last run."""
        found: dict[str, Layer] = {}
        modules = dict(self._deployed.network.named_modules())

        def note(name: str) -> Callable[[torch.Tensor], None]:
            def noted(output: torch.Tensor) -> None:
                found.pop(name, None)
                height, width = output.shape[2:]
                found[name] = Layer(name, type(modules[name]).__name__, output.shape[1], (height, width))

            return noted

        with torch.no_grad(), self._hooked({name: note(name) for name in modules if name}):
            self._deployed.logits(self._images)
        return list(found.values())

    @contextmanager
    def _hooked(self, hooks: dict[str, Callable[[torch.Tensor], torch.Tensor | None]]) -> Iterator[None]:
        """While entered, pass the map that a module gives through its hook."""
        modules = dict(self._deployed.network.named_modules())

        def attach(name: str) -> Any:
            def called(module: Any, inputs: Any, output: Any) -> torch.Tensor | None:
                is_map = isinstance(output, torch.Tensor) and output.ndim == 4
                return hooks[name](output) if is_map else None

            return modules[name].register_forward_hook(called)

        handles = [attach(name) for name in hooks]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
