"""What the node imports before its first frame: seconds on a robot, and nothing of it shows on a fast machine."""

import json
import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed here", exc_type=ImportError)

from harness import environment

# what trains, exports, reads recordings and draws: none of it labels a camera's images
OFFLINE = {
    "torch",
    "lightning",
    "torchvision",
    "onnx",
    "scipy",
    "pandas",
    "matplotlib",
    "av",
    "rosbags",
    "rich",
    "sklearn",
}
OURS = {"seg_node." + name for name in ("networks", "datasets", "training", "exporters", "evaluation", "commands")}
START = textwrap.dedent(
    """
    import json, sys
    import rclpy
    from seg_node.ros.process import SegmentationNode
    rclpy.init(args=["node", "--ros-args", "-p", "model:=rdsnet_camvid", "-p", "runtime:=onnx"])
    node = SegmentationNode()
    node.start()
    assert node._engine is not None
    node.stop(5.0)
    rclpy.shutdown()
    print(json.dumps(sorted(sys.modules)))
    """
)


def test_nothing_of_the_offline_half_is_imported():
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed here")
    done = subprocess.run([sys.executable, "-c", START], env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    imported = set(json.loads(done.stdout.splitlines()[-1]))
    assert "onnxruntime" in imported and "seg_node.pipeline.segmenter" in imported
    assert not imported & (OFFLINE | OURS | {"openvino", "tensorrt"})
