"""The parameter file that is shipped says what the node does."""

import pytest
import yaml

pytest.importorskip("rclpy", reason="ROS 2 is not installed here", exc_type=ImportError)

from seg_node.ros.parameters import Settings, view_of
from seg_node.share import share_path

FILE = share_path("config/seg_node.yaml")


def test_the_file_has_every_parameter_with_its_default() -> None:
    given = yaml.safe_load(FILE.read_text(encoding="utf-8"))["/**"]["ros__parameters"]
    defaults = Settings()._asdict()
    arrays = {name for name, value in defaults.items() if isinstance(value, tuple)}  # ROS has no empty arrays in files
    assert given == {name: value for name, value in defaults.items() if name not in arrays}
    assert all(f"    # {name}: [" in FILE.read_text(encoding="utf-8") for name in arrays)


@pytest.mark.parametrize(
    "values, view",
    [
        ({}, (None, "stretch", None)),
        ({"output_size": "network", "fit": "letterbox"}, (None, "letterbox", "network")),
        ({"output_size": "360x480", "roi": (1, 2, 3, 4)}, ((1, 2, 3, 4), "stretch", (360, 480))),
    ],
)
def test_views(values: dict, view: tuple) -> None:
    assert tuple(view_of(Settings()._replace(**values))) == view


@pytest.mark.parametrize("size", ["", "360", "0x5", "x", "360x480x3", "99999x99999", "camera "])
def test_wrong_output_sizes_are_named(size: str) -> None:
    with pytest.raises(ValueError, match="output_size"):
        view_of(Settings()._replace(output_size=size))
