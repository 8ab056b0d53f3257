"""An ament_python package that is also a plain pip package.

ROS 2 itself is never a pip requirement: on a robot it is the system's, elsewhere requirements/ros-jazzy.txt.
"""

import os

from setuptools import find_packages, setup

PACKAGE = "seg_node"


def installed_files():
    """Return data_files that put what lies in these folders under share/seg_node, folders kept."""
    share = "share/" + PACKAGE
    files = [
        ("share/ament_index/resource_index/packages", ["resource/" + PACKAGE]),
        (share, ["package.xml"]),
        # pip puts console scripts into bin/ alone; `ros2 run` looks here (colcon's own scripts replace these)
        ("lib/" + PACKAGE, ["scripts/" + name for name in sorted(os.listdir("scripts"))]),
    ]
    for top in ("config", "launch", "models"):
        for folder, _, names in os.walk(top):
            paths = [os.path.join(folder, name) for name in sorted(names) if not name.startswith(".")]
            if paths and "__pycache__" not in folder:
                files.append((os.path.join(share, folder), paths))
    return files


setup(
    name=PACKAGE,
    version="0.1.0",
    description="Real-time semantic segmentation for ROS 2",
    author="seg_node maintainers",
    author_email="maintainers@example.org",
    maintainer="seg_node maintainers",
    maintainer_email="maintainers@example.org",
    license="Apache-2.0",
    packages=find_packages(include=[PACKAGE, PACKAGE + ".*"]),
    package_data={"seg_node.replay": ["page.css", "page.js"]},
    data_files=installed_files(),
    install_requires=["setuptools", "numpy", "PyYAML"],  # and OpenCV: a robot has its own build
    extras_require={
        "onnx": ["onnxruntime"],
        "openvino": ["openvino"],
        "int8": ["openvino", "nncf"],  # to export; what runs an int8 file is OpenVINO alone
        # JetPack brings TensorRT itself; newer Polygraphy does not run on Python 3.6
        "tensorrt": ["polygraphy==0.49.0; python_version<'3.8'", "polygraphy; python_version>='3.8'"],
        "torch": ["torch"],
        "demo": ["av", "rich", "rosbags"],
        "replay": ["av", "rich", "rosbags", "rerun-sdk"],
        "ray": ["ray>=2.9", "fsspec"],
        "export": ["opencv-python-headless", "torch", "onnx", "onnxscript", "onnxruntime", "rich"],
        "train": [
            "opencv-python-headless",
            "torch",
            "safetensors",
            "lightning",
            "torchmetrics",
            "tensorboard",
            "rich",
            "onnx",
            "onnxscript",
        ],
    },
    python_requires=">=3.6",
    zip_safe=True,
    entry_points={
        "console_scripts": [
            "seg-node = seg_node.commands:main",
            "segmentation_node = seg_node.ros.segmentation_node:main",
            "camera = seg_node.ros.camera:main",
        ]
    },
)
