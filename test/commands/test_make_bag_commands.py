"""``seg-node record-street`` and ``seg-node bag-from``, as a person runs them."""

import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags", reason="writing bags needs rosbags")
from rosbags.rosbag2 import Reader

from seg_node.commands import main


def counts(path) -> dict[str, int]:
    with Reader(path) as reader:
        return {connection.topic: connection.msgcount for connection in reader.connections}


def test_record_street(tmp_path, capsys):
    path = tmp_path / "street.mcap"
    words = ["record-street", str(path), "--seconds", "0.5", "--rate", "8", "--size", "64x96", "--seed", "4"]
    assert main([*words, "--compressed"]) == 0
    assert capsys.readouterr().out == f"{path}: 4 images, 4 with ground truth\n"
    assert counts(path) == {
        "/camera/image_raw/compressed": 4,
        "/camera/camera_info": 4,
        "/camera/depth": 4,
        "/camera/ground_truth": 4,
        "/camera/ground_truth_info": 1,
    }
    assert main(words) == 1  # it is there already
    assert "exists already" in capsys.readouterr().err
    assert main([*words, "--codec", "png"]) == 2
    assert "--codec png: is of --compressed" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        main(["record-street", str(path), "--seconds", "0"])
    assert stopped.value.code == 2


def test_a_size_too_small_is_told(tmp_path, capsys):
    assert main(["record-street", str(tmp_path / "a.mcap"), "--size", "8x8"]) == 1
    assert "at least 32" in capsys.readouterr().err and os.listdir(tmp_path) == []


def test_bag_from(tmp_path, capsys):
    (tmp_path / "frames").mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / "frames" / f"{number}.png"), np.full((48, 64, 3), number, np.uint8))
    out = tmp_path / "frames.mcap"
    assert main(["bag-from", str(tmp_path / "frames"), str(out), "--rate", "5", "--topic", "/front/image"]) == 0
    assert capsys.readouterr().out == f"{out}: 3 images\n"
    assert counts(out) == {"/front/image": 3}
    assert main(["bag-from", str(tmp_path / "nothing"), str(tmp_path / "b.mcap")]) == 1
    assert "no such file or folder" in capsys.readouterr().err


def test_ctrl_c_leaves_a_shorter_bag_in_which_no_frame_is_half(tmp_path):
    path = tmp_path / "street.mcap"
    command = [sys.executable, "-m", "seg_node", "record-street", str(path), "--seconds", "5000", "--size", "180x240"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    inner = tmp_path / "street.mcap.partial" / "street" / "street.mcap"
    deadline = time.monotonic() + 60
    while not (inner.exists() and inner.stat().st_size > 1_000_000):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130 and out.endswith("stopped early\n")
    assert os.listdir(tmp_path) == ["street.mcap"]
    found = counts(path)
    assert found.pop("/camera/ground_truth_info") == 1
    assert len(set(found.values())) == 1 and found["/camera/depth"] > 5
    assert f": {found['/camera/depth']} images" in out
