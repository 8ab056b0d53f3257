"""Why a network labels as it does: Grad-CAM (Selvaraju et al., ICCV 2017) and the maps of its classes.

The score of a class is the sum of its logits over the pixels asked about: those labelled so, unless said otherwise. A
classifier's are the logits of every place, before they are averaged. Works from the torch weights, on the CPU, in the
network that the robot runs. The C3 paper's figures 5 and 7 and Dual ASPP's figure 4 are such pictures.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
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

    labels: np.ndarray  # int64 (H, W), the network's outputs
    logits: np.ndarray  # float32 (classes, H, W)
    probabilities: np.ndarray  # float32 (classes, H, W), softmax

    def of(self, class_id: int) -> np.ndarray:
        """Return bool (H, W): where the network says this class."""
        return self.labels == class_id


class _EveryPlace(nn.Module):
    """A classifier's logits of every place, enlarged to the image: float (N, classes, H, W), of the same mean."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.classifier.dense(x)  # type: ignore[operator]
        return functional.interpolate(logits, size=x.shape[2:], mode="bilinear", align_corners=False)


class Explainer:
    """One network and one image."""

    def __init__(
        self, network: nn.Module, mean: Sequence[float], std: Sequence[float], scale: float, image: np.ndarray
    ) -> None:
        """``image``: uint8 (H, W, 3), in the size and the order of channels that the network takes."""
        self._network = network
        maps = _EveryPlace(network) if callable(getattr(type(network), "dense", None)) else network
        self._deployed = Deployed(maps, mean, std, scale).eval().requires_grad_(False)
        self._images = torch.from_numpy(image[np.newaxis].copy())
        self.layers, self.classes = self._trace()

    @classmethod
    def of_model(cls, card: ModelCard, image: np.ndarray) -> "Explainer":
        """``image``: uint8 (H, W, 3) BGR, any size. Raises CardError where the model has no torch weights."""
        fitting = NetworkInput(card).fit(Frame(np.ascontiguousarray(image), "bgr"))[0]
        return cls(load_network(card), card.mean, card.std, card.scale, fitting)

    def view(self) -> View:
        logits = self._logits().detach()[0]
        return View(logits.argmax(0).numpy(), logits.numpy(), torch.softmax(logits, dim=0).numpy())

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
        """Return float (1, classes, H, W)."""
        return self._deployed.logits(self._images)

    def _trace(self) -> tuple[list[Layer], int]:
        """Return the layers in the order in which they finish, each as it was last run, and the number of classes."""
        found: dict[str, Layer] = {}
        modules = dict(self._network.named_modules())

        def note(name: str) -> Callable[[torch.Tensor], None]:
            def noted(output: torch.Tensor) -> None:
                found.pop(name, None)
                height, width = output.shape[2:]
                found[name] = Layer(name, type(modules[name]).__name__, output.shape[1], (height, width))

            return noted

        with torch.no_grad(), self._hooked({name: note(name) for name in modules if name}):
            classes = self._logits().shape[1]
        return list(found.values()), classes

    @contextmanager
    def _hooked(self, hooks: dict[str, Callable[[torch.Tensor], torch.Tensor | None]]) -> Iterator[None]:
        """While entered, pass the map that a module gives through its hook."""
        modules = dict(self._network.named_modules())

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
