"""What many tests share: where real data lies, small models made on the spot, and a ROS that can be imported."""

import contextlib
import os
from pathlib import Path

import pytest
import yaml
from cards import card_table

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    """Import ROS before anything else.

    The ROS wheels start Python anew at the first ``import rclpy`` to set LD_LIBRARY_PATH. Here pytest's capture rests,
    so that the second run has the real stdout; in a test, all that it prints would be lost.
    """
    # nobody else's robot
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    with contextlib.suppress(ImportError):  # the tests say so and skip
        import rclpy  # noqa: F401


@pytest.fixture
def data_folder() -> Path:
    """Where real data lies: SEG_NODE_DATA, or shared/data beside the checkout."""
    return Path(os.environ.get("SEG_NODE_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture
def camvid(data_folder: Path) -> Path:
    folder = data_folder / "camvid"
    if not folder.is_dir():
        pytest.skip(f"no CamVid at {folder}; set SEG_NODE_DATA to the folder that holds camvid/")
    return folder


@pytest.fixture
def real_bags(data_folder: Path) -> Path:
    folder = data_folder / "bags"
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}; set SEG_NODE_DATA to the folder that holds bags/")
    return folder


@pytest.fixture
def write_card(tmp_path: Path):
    """Return a function that writes a card from changes and returns its folder."""

    def write(**changes: object) -> Path:
        (tmp_path / "card.yaml").write_text(yaml.safe_dump(card_table(**changes)), encoding="utf-8")
        return tmp_path

    return write


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small random RDS-Net as PyTorch weights and as ONNX, with its card."""
    torch = pytest.importorskip("torch")
    from seg_node import exporters, networks
    from seg_node.training.checkpoint import save_weights

    folder = tmp_path_factory.mktemp("model") / "small"
    folder.mkdir()
    torch.manual_seed(1)
    save_weights(networks.build("rdsnet", 11).state_dict(), folder / "weights.pt")
    table = card_table(files={"torch": {"path": "weights.pt"}})
    (folder / "card.yaml").write_text(yaml.safe_dump(table), encoding="utf-8")
    exporters.export(str(folder), "onnx")
    return folder


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory):
    """Return a function: a kind of foreign network to the folder that it was exported to, once, and what it is."""
    import strangers

    cache: dict[str, tuple] = {}

    def make(kind: str) -> tuple:
        if kind not in cache:
            folder = tmp_path_factory.mktemp("stranger")
            cache[kind] = folder, strangers.make(kind, folder)
        return cache[kind]

    return make
