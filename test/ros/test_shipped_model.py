"""The shipped network in the real node, over DDS: the labels that arrive are those that evaluation scores."""

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed here", exc_type=ImportError)

from harness import NodeProcess, image_message, send, until  # noqa: E402

from seg_node.datasets.street import Street  # noqa: E402
from seg_node.evaluation.confusion import Confusion  # noqa: E402
from seg_node.model_card import load_card  # noqa: E402
from seg_node.pipeline.frame import Frame  # noqa: E402
from seg_node.pipeline.segmenter import Segmenter  # noqa: E402
from seg_node.runtimes import load_runtime  # noqa: E402

MODEL = "rdsnet_camvid"


@pytest.fixture(scope="module")
def node(client):
    node = NodeProcess(MODEL, runtime="auto")
    client.ready(node)
    yield node
    assert node.end()[0] == 0


@pytest.mark.parametrize("size", [(360, 480), (480, 640), (271, 333)], ids=str)
def test_the_robot_sees_what_evaluation_scores(client, node, size):
    image, truth = Street(seed=5, size=size).render(40)
    card = load_card(MODEL)
    segmenter = Segmenter(card, load_runtime(card))
    expected = segmenter.segment(Frame(image, "bgr")).labels.copy()

    labels, camera = client.listen(node), client.camera(node)
    message = image_message(image, "bgr8")
    message.header.stamp.sec, message.header.stamp.nanosec, message.header.frame_id = 12, 345, "front"
    send(camera, message, lambda: labels)
    got = until(lambda: labels and labels[-1])

    assert (got.header.stamp.sec, got.header.stamp.nanosec, got.header.frame_id) == (12, 345, "front")
    assert (got.height, got.width, got.encoding, got.step) == (*size, "mono8", size[1])
    seen = np.frombuffer(got.data, np.uint8).reshape(size)
    assert np.array_equal(seen, expected)
    confusion = Confusion(segmenter.label_set.class_count)
    confusion.add(truth, seen)
    assert confusion.scores().miou > 0.5, "a trained network knows its street"
