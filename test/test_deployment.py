"""What runs the node on robots, checked as far as can be without them: layouts, policy, images, units, launch files."""

import ast
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
LAYOUTS = sorted((ROOT / "config").glob("*.rviz"))
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
LAUNCH = sorted((ROOT / "launch").glob("*.launch.py"))
# Of rviz2 from Humble to Lyrical: what each display, tool, view and panel is called.
RVIZ_CLASSES = {
    "rviz_common/Displays",
    "rviz_common/Time",
    "rviz_default_plugins/FocusCamera",
    "rviz_default_plugins/Grid",
    "rviz_default_plugins/Image",
    "rviz_default_plugins/Interact",
    "rviz_default_plugins/Measure",
    "rviz_default_plugins/MoveCamera",
    "rviz_default_plugins/Orbit",
    "rviz_default_plugins/PointCloud2",
    "rviz_default_plugins/Select",
}
OUTPUTS = {"label", "confidence", "overlay", "color", "label/compressed", "overlay/compressed", "camera_info"}
OUTPUTS |= {"label_info", "label_cloud", "transition_event"}


def name(path: Path) -> str:
    return path.name


def classes(tree: object) -> set[str]:
    """Every value of a key "Class" in a tree."""
    if isinstance(tree, dict):
        own = {tree["Class"]} if tree.get("Class") else set()
        return own.union(*(classes(value) for value in tree.values()))
    return set().union(*(classes(each) for each in tree)) if isinstance(tree, list) else set()


def test_there_is_a_layout_for_each_purpose() -> None:
    assert [path.stem for path in LAYOUTS] == ["camera", "cloud", "four_cameras"]


@pytest.mark.parametrize("path", LAYOUTS, ids=name)
def test_a_layout_shows_what_the_node_publishes_with_a_qos_that_fits(path: Path) -> None:
    layout = yaml.safe_load(path.read_text())
    assert classes(layout) <= RVIZ_CLASSES
    displays = layout["Visualization Manager"]["Displays"]
    topics = {d["Topic"]["Value"]: d["Topic"] for d in displays if "Topic" in d}
    assert any(topic.startswith("/seg_node/") for topic in topics)
    for topic, qos in topics.items():
        assert set(qos) >= {"Depth", "Durability Policy", "History Policy", "Reliability Policy"}
        ours = topic.startswith("/seg_node/")
        assert qos["Reliability Policy"] == ("Reliable" if ours else "Best Effort"), topic
        if ours:
            words = topic.split("/")[2:]
            assert words[-1] in OUTPUTS and len(words) == (2 if path.stem == "four_cameras" else 1), topic
    docks = {d["Name"] for d in displays if d["Class"].endswith("/Image")}
    geometry = layout["Window Geometry"]
    state = bytes.fromhex(geometry["QMainWindow State"]).decode("utf-16-be", errors="ignore")
    odd = bytes.fromhex("00" + geometry["QMainWindow State"]).decode("utf-16-be", errors="ignore")
    assert all(dock in geometry and (dock in state or dock in odd) for dock in docks), "docks have their places"


def test_the_policy_has_every_topic_of_the_node_and_is_as_sros2_wants_it() -> None:
    policy = ElementTree.parse(ROOT / "deploy" / "policy.xml").getroot()
    assert (policy.tag, policy.attrib) == ("policy", {"version": "0.2.0"})
    enclaves = policy.findall("enclaves/enclave")
    assert enclaves[0].get("path") == "/seg_node"
    for rule in policy.iter():
        if rule.tag in ("topics", "services"):
            ((how, verdict),) = rule.attrib.items()
            assert how in {"topics": ("publish", "subscribe"), "services": ("reply", "request")}[rule.tag]
            assert verdict == "ALLOW" and {each.tag for each in rule} == {rule.tag[:-1]}
    profile = enclaves[0].find("profiles/profile")
    assert profile is not None and profile.attrib == {"ns": "/", "node": "seg_node"}
    published = {topic.text for topic in profile.findall("topics[@publish]/topic")}
    assert published >= {f"~/{output}" for output in OUTPUTS} | {"/diagnostics", "/rosout", "/parameter_events"}
    services = {service.text for service in profile.findall("services[@reply]/service")}
    assert services >= {"~/change_state", "~/get_state", "~/set_parameters", "~/get_parameters"}


def test_there_is_an_image_for_each_generation() -> None:
    assert [path.name.split(".")[0] for path in DOCKERFILES] == ["orin", "thor", "tx2", "x86", "xavier"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=name)
def test_an_image_copies_what_there_is_and_what_setup_needs(path: Path) -> None:
    text = path.read_text().replace("\\\n", " ")
    sources = {word for line in re.findall(r"^COPY (.*)", text, re.M) for word in line.split()[:-1]}
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for source in sources:
        assert (ROOT / source).exists(), source
        assert "!" + source.split("/")[0] in ignored, f".dockerignore keeps {source} out"
    assert sources >= {"package.xml", "setup.py", "setup.cfg", "seg_node", "resource", "scripts"}
    assert sources >= {"config", "launch", "models"}, "what setup.py installs"
    assert re.findall(r"^ARG BASE=(\S+:\S+)$", text, re.M) and "latest" not in text, "an exact tag"
    started = re.findall(r'^CMD \["ros2", "launch", "seg_node", "(.*?)"', text, re.M)
    assert len(started) == 1 and (ROOT / "launch" / started[0]).is_file()
    pinned = [word for line in re.findall(r"pip install (.*)", text) for word in line.split() if "==" in word]
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", word) for word in pinned)


@pytest.mark.parametrize("path", sorted((ROOT / "docker").glob("*.sh")), ids=name)
def test_a_script_of_the_images_can_be_run(path: Path) -> None:
    assert path.stat().st_mode & 0o111
    assert subprocess.run(["bash", "-n", str(path)]).returncode == 0


@pytest.mark.parametrize("path", sorted((ROOT / "deploy").glob("*.service")), ids=name)
def test_a_unit_launches_files_that_there_are_with_arguments_that_they_have(path: Path) -> None:
    text = path.read_text() + (ROOT / "deploy" / "seg_node.env").read_text()
    launches = re.findall(r'LAUNCH=(\S+\.launch\.py)([^"\n]*)', text)
    assert launches
    for file, words in launches:
        known = (ROOT / "launch" / file).read_text()
        for word in words.split():
            assert f'("{word.split(":=")[0]}", ' in known, f"{file} has no {word}"
    if path.stem == "seg_node" and shutil.which("systemd-analyze"):
        verified = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True)
        assert path.name not in verified.stderr, verified.stderr


@pytest.mark.parametrize("path", LAUNCH, ids=name)
def test_a_launch_file_runs_with_python_36(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 6))


def test_launch_files_set_parameters_that_the_node_has() -> None:
    parameters = (ROOT / "seg_node" / "ros" / "parameters.py").read_text()
    tree = next(n for n in ast.parse(parameters).body if isinstance(n, ast.ClassDef) and n.name == "Settings")
    declared = {n.target.id for n in tree.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
    for file in ("camera", "multi_camera"):
        text = (ROOT / "launch" / f"{file}.launch.py").read_text()
        ours = next(
            n for n in ast.parse(text).body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "OURS"
        )
        assert set(ast.literal_eval(ours.value)) <= declared
    assert "cameras" in declared
    for file in ("jetson.yaml", "seg_node.yaml"):
        table = yaml.safe_load((ROOT / "config" / file).read_text())["/**"]["ros__parameters"]
        assert set(table) <= declared
