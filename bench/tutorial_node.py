"""The node that one would otherwise write: rclpy, cv_bridge's conversions, eager PyTorch, numpy and OpenCV.

    python -m bench.tutorial_node --ros-args -p model:=rdsnet_camvid

Written as tutorials teach it, but without their mistakes: weights are loaded once, gradients are off, a GPU is used
where there is one, one image waits at most, pictures are converted by buffers and not pixel by pixel, and nothing is
computed twice. It has the same network, the same weights and the same outputs as ours.
"""

import sys

import cv2
import numpy as np
import rclpy
import torch
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from seg_node.label_set import load_label_set
from seg_node.model_card import ModelCard, load_card
from seg_node.runtimes.torch import load_network


def imgmsg_to_cv2(message: Image) -> np.ndarray:
    """As cv_bridge does for bgr8: a view of the message's data."""
    return np.ndarray((message.height, message.width, 3), np.uint8, message.data, 0, (message.step, 3, 1))


def cv2_to_imgmsg(image: np.ndarray, encoding: str) -> Image:
    """As cv_bridge does."""
    message = Image(height=image.shape[0], width=image.shape[1], encoding=encoding)
    message.data.frombytes(image.tobytes())
    message.step = len(message.data) // message.height
    return message


class Network:
    """The card's network in PyTorch, and what is done to an image before it and to its answer after."""

    def __init__(self, card: ModelCard) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.network = load_network(card).to(self.device)
        self.size, self.flip = card.size, card.channels == "rgb"
        self.mean, self.std, self.scale = np.float32(card.mean), np.float32(card.std), np.float32(card.scale)

    def segment(self, image: np.ndarray) -> np.ndarray:
        """Return class ids, uint8 (H, W), for uint8 (H, W, 3) BGR."""
        small = cv2.resize(image, self.size[::-1])
        if self.flip:
            small = cv2.cvtColor(small, cv2.COLOR_BGR2RGB)
        values = (small.astype(np.float32) / self.scale - self.mean) / self.std
        with torch.no_grad():
            logits = self.network(torch.from_numpy(values.transpose(2, 0, 1)[None]).to(self.device))
        labels = np.argmax(logits[0].cpu().numpy(), axis=0).astype(np.uint8)
        return cv2.resize(labels, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)


class TutorialNode(Node):
    def __init__(self) -> None:
        super().__init__("seg_node")
        card = load_card(self.declare_parameter("model", "rdsnet_camvid").value)
        self.network = Network(card)
        self.palette = load_label_set(card.label_set).palette
        self.labels = self.create_publisher(Image, "~/label", 10)
        self.overlay = self.create_publisher(Image, "~/overlay", 10)
        best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(Image, "image", self.on_image, best_effort)

    def on_image(self, message: Image) -> None:
        image = imgmsg_to_cv2(message)
        labels = self.network.segment(image)
        overlay = cv2.addWeighted(image, 0.5, self.palette[labels], 0.5, 0)
        for publisher, picture, encoding in ((self.labels, labels, "mono8"), (self.overlay, overlay, "bgr8")):
            answer = cv2_to_imgmsg(picture, encoding)
            answer.header = message.header
            publisher.publish(answer)


def main() -> None:
    rclpy.init(args=sys.argv)
    node = TutorialNode()
    try:
        rclpy.spin(node)
    except KeyboardInterrupt:
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
