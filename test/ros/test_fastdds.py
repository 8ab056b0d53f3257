"""What a Fast DDS profile says, and profiles that fit images."""

from pathlib import Path

import pytest

from seg_node.ros import fastdds, transport
from seg_node.ros.fastdds import ProfileError, read_profile, segment_for

MB = 1 << 20
ROOT = Path(__file__).resolve().parents[2]
DESCRIPTOR = "<transport_descriptor><transport_id>{id}</transport_id><type>{type}</type>{more}</transport_descriptor>"


def profile(path, descriptors="", transports="", stock="false", default="true", namespace=""):
    path.write_text(
        f"<dds{namespace}><profiles><transport_descriptors>{descriptors}</transport_descriptors>"
        f'<participant profile_name="x" is_default_profile="{default}"><rtps>'
        f"<userTransports>{transports}</userTransports><useBuiltinTransports>{stock}</useBuiltinTransports>"
        "</rtps></participant></profiles></dds>"
    )
    return str(path)


def shm(segment):
    return DESCRIPTOR.format(id="m", type="SHM", more=f"<segment_size>{segment}</segment_size>" if segment else "")


@pytest.mark.parametrize(
    ("words", "segment", "why"),
    [
        ({"descriptors": shm(8 * MB), "transports": "<transport_id>m</transport_id>"}, 8 * MB, ""),
        ({"descriptors": shm(0), "transports": "<transport_id>m</transport_id>"}, 512 << 10, ""),
        (
            {"descriptors": shm(8 * MB), "transports": "<transport_id>m</transport_id>", "stock": "true"},
            512 << 10,
            "useB",
        ),
        ({"descriptors": shm(8 * MB), "transports": "<transport_id>n</transport_id>"}, 0, "no shared memory"),
        ({"descriptors": shm(8 * MB), "stock": "true"}, 512 << 10, "sets up no shared memory"),
        (
            {"descriptors": shm(8 * MB), "transports": "<transport_id>m</transport_id>", "default": "false"},
            512 << 10,
            "is_d",
        ),
    ],
)
@pytest.mark.parametrize("namespace", ["", ' xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"'])
def test_what_is_in_force(tmp_path, words, segment, why, namespace):
    found = read_profile(profile(tmp_path / "p.xml", namespace=namespace, **words))
    assert found.segment == segment and (why in found.why if why else not found.why)


def test_a_file_that_is_none_is_named(tmp_path):
    with pytest.raises(ProfileError, match=r"nothing.xml: cannot be read"):
        read_profile(str(tmp_path / "nothing.xml"))
    (tmp_path / "broken.xml").write_text("<dds>")
    with pytest.raises(ProfileError, match=r"broken.xml: is no XML"):
        read_profile(str(tmp_path / "broken.xml"))


def test_the_shipped_profile_fits_1080p_and_receives_4k():
    found = read_profile(str(ROOT / "config" / "fastdds.xml"))
    assert found.segment == fastdds.LEAST == segment_for(3 * 1920 * 1080) and not found.why
    assert found.queue * fastdds.PIECE >= 2 * 3 * 3840 * 2160


@pytest.mark.parametrize(("frame", "segment"), [(0, 32), (3 * 640 * 480, 32), (3 * 3840 * 2160, 128), (1 << 40, 512)])
def test_segments_that_fit(frame, segment):
    assert segment_for(frame) == segment * MB


def test_a_profile_is_written_once_and_known_as_ours(monkeypatch, tmp_path):
    monkeypatch.setenv("SEG_NODE_CACHE", str(tmp_path / "cache"))
    path = fastdds.profile_for(128 * MB)
    assert path == str(tmp_path / "cache" / "fastdds-128mb.xml") and fastdds.is_ours(path)
    assert read_profile(path) == read_profile(str(ROOT / "config" / "fastdds.xml"))._replace(segment=128 * MB)
    written = Path(path).stat().st_mtime_ns
    assert fastdds.profile_for(128 * MB) == path and Path(path).stat().st_mtime_ns == written
    Path(path).write_text("<dds/>")  # of an older version of ours
    fastdds.profile_for(128 * MB)
    assert read_profile(path).segment == 128 * MB and [p.name for p in Path(path).parent.iterdir()] == [Path(path).name]
    assert not fastdds.is_ours("/home/me/fastdds-128mb.xml")


def test_a_cache_that_cannot_be_written_leaves_the_shipped_one(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SEG_NODE_CACHE", str(tmp_path / "file" / "cache"))
    assert fastdds.profile_for(128 * MB) == str(ROOT / "config" / "fastdds.xml")


def test_advice_names_a_profile_that_fits(monkeypatch, tmp_path):
    monkeypatch.setenv("SEG_NODE_CACHE", str(tmp_path))
    assert "config/fastdds.xml" in transport.advice(0)
    assert f"FASTRTPS_DEFAULT_PROFILES_FILE={tmp_path}/fastdds-128mb.xml" in transport.advice(3 * 3840 * 2160)
