"""What the node does with a model, without ROS: load it in a thread of its own, and label with it."""

import queue

import cv2
import numpy as np
import pytest

from seg_node.pipeline.frame import Frame
from seg_node.ros.engine import Engine, Loader, Wanted

SHIPPED = Wanted("rdsnet_camvid", "auto", "auto", "auto")


@pytest.fixture
def loader():
    """A Loader and the queue into which it puts what it loaded, or what was wanted and why it failed."""
    done = queue.Queue()
    return Loader(done.put, lambda wanted, error: done.put((wanted, error))), done


def test_the_shipped_model_labels_the_camera_with_the_best_backend_there_is(loader, golden):
    load, done = loader
    load.load(SHIPPED)
    engine = done.get(timeout=60)
    assert isinstance(engine, Engine), engine
    about = dict(engine.about())
    assert about["model"] == "rdsnet_camvid" and about["input_size"] == "360x480"
    assert about["precision"] in ("fp32", "int8") and about["runtime"] != "fake"
    for image in golden.values():
        large = cv2.resize(image, (640, 480))
        labels = engine.segmenter.segment(Frame(large, "bgr")).labels
        assert labels.shape == (480, 640) and set(np.unique(labels)) <= set(range(11))
        assert len(np.unique(labels)) >= 5
    engine.close()


@pytest.mark.parametrize(
    "wrong, says",
    [
        (SHIPPED._replace(model="no_such_model"), "rdsnet_camvid"),
        (SHIPPED._replace(runtime="onxx"), "onnx, openvino"),
        (SHIPPED._replace(device="nonsense"), "nonsense"),
        (SHIPPED._replace(precision="int4"), "int4"),
    ],
    ids=["model", "runtime", "device", "precision"],
)
def test_what_does_not_load_says_why_and_the_next_one_loads(loader, wrong, says):
    load, done = loader
    load.load(wrong)
    wanted, error = done.get(timeout=60)
    assert wanted == wrong and says in str(error)
    load.load(SHIPPED)
    engine = done.get(timeout=60)
    assert isinstance(engine, Engine), engine
    engine.close()
