"""What a validation epoch's score is made of."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from seg_node.training.recipe import load_recipe  # noqa: E402
from seg_node.training.task import Segmentation  # noqa: E402

ROAD, CAR, VOID = 3, 8, 11


@pytest.mark.parametrize(("change", "car"), [((), 0.5), (("loss.void_weight=0",), 1.0)], ids=["counted", "ignored"])
def test_void_pixels_cost_what_is_said_there_where_void_is_counted(change, car, monkeypatch) -> None:
    """Two pixels of road, one of a car, and one of void, which is called a car."""
    task, logged = Segmentation(load_recipe("erfnet_camvid", change), np.full(12, 1 / 12), Path()), {}
    monkeypatch.setattr(task, "log", lambda name, value, **more: logged.update({name: float(value)}))
    monkeypatch.setattr(task, "log_dict", logged.update)
    task.confusion.update(torch.tensor([[ROAD, ROAD, CAR, CAR]]), torch.tensor([[ROAD, ROAD, CAR, VOID]]))
    task.on_validation_epoch_end()
    assert logged["iou/Car"] == car and logged["miou"] == (1 + car) / 2
