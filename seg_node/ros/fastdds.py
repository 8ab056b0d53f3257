"""Fast DDS's profile files: what one says of shared memory, and one that fits the images at hand. Imports no ROS.

A process sends images to others on its machine through a segment of shared memory of its own. What does not fit into
it beside what is still being read is overwritten: best-effort images are lost, reliable ones sent again.
"""

import contextlib
import os
import re
import tempfile
from pathlib import Path
from typing import Any, Iterable, List, NamedTuple, Optional
from xml.etree import ElementTree

from seg_node.share import cache_folder, share_path

STOCK_SEGMENT, STOCK_QUEUE = 512 << 10, 512  # bytes; messages that wait in a receiver's port
PIECE = 64 << 10  # bytes of an image in one message
LEAST, MOST = 32 << 20, 512 << 20  # bytes of a segment of ours
_QUEUE = 4096  # messages, the shipped profile's
_FRAMES = 3  # one that is written, one that is read, one to spare
_NAME = "fastdds-{}mb.xml"


class ProfileError(ValueError):
    """A profile file that Fast DDS would not take; the message names it."""


class Profile(NamedTuple):
    """What is in force in a process that was started with a profile file."""

    segment: int  # bytes of shared memory; 0: none, all goes through UDP
    queue: int  # messages that wait in its port
    why: str  # what is odd about the file, "" where nothing is


STOCK = Profile(STOCK_SEGMENT, STOCK_QUEUE, "")


def read_profile(path: str) -> Profile:
    """Return what the file says for a process of ROS 2, which uses its default profile.

    Raises ProfileError where there is no such file or it is no XML.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except OSError as error:
        raise ProfileError("{}: cannot be read ({})".format(path, error.strerror or error)) from error
    except ElementTree.ParseError as error:
        raise ProfileError("{}: is no XML ({}); Fast DDS ignores all of it".format(path, error)) from error
    default = [
        each for each in _all(root, "participant") if (each.get("is_default_profile") or "").strip().lower() == "true"
    ]
    if not default:
        return STOCK._replace(why='no participant has is_default_profile="true", so nothing of it applies')
    return _participant(default[0], root)


def _participant(participant: Any, root: Any) -> Profile:
    wanted = {_text(each) for each in _all(participant, "transport_id")}
    memory = [
        each
        for each in _all(root, "transport_descriptor")
        if _text(_first(each, "transport_id")) in wanted and _text(_first(each, "type")).upper() == "SHM"
    ]
    stock = _text(_first(participant, "useBuiltinTransports")).lower() != "false"
    if memory and stock:
        return STOCK._replace(why="useBuiltinTransports is not false, so the stock segment is used beside its own")
    if memory:
        segment = _number(_first(memory[0], "segment_size"), STOCK_SEGMENT)
        return Profile(segment, _number(_first(memory[0], "port_queue_capacity"), STOCK_QUEUE), "")
    if stock:
        return STOCK._replace(why="it sets up no shared memory (a transport_descriptor of type SHM)")
    return Profile(0, 0, "it uses no shared memory (no transport_descriptor of type SHM is among its userTransports)")


def segment_for(frame: int) -> int:
    """Return the bytes of shared memory that a process wants which sends ``frame`` bytes of images at a time."""
    segment = LEAST
    while segment < min(_FRAMES * frame, MOST):
        segment *= 2
    return segment


def profile_for(segment: int) -> str:
    """Return the path of a profile with such a segment: the shipped one, or one written into the cache folder.

    The shipped one, too, where that cannot be written.
    """
    shipped = share_path("config/fastdds.xml")
    if segment == LEAST:
        return str(shipped)
    path = cache_folder() / _NAME.format(segment >> 20)
    try:
        if not path.is_file() or path.read_text(encoding="utf-8") != _content(segment):
            write_profile(path, segment)
    except OSError:
        return str(shipped)
    return str(path)


def write_profile(path: Path, segment: int) -> None:
    """Write a profile, whole or not at all. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(prefix=path.name + ".", dir=str(path.parent))
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(_content(segment))
        os.chmod(partial, 0o644)
        os.replace(partial, str(path))
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(partial)
        raise


def was_written_here(path: Path) -> bool:
    """Return whether a file is what ``write_profile`` writes, of whatever size. Raises OSError."""
    text, segment = path.read_bytes(), LEAST
    while segment <= MOST:
        if text == _content(segment).encode():
            return True
        segment *= 2
    return False


def is_ours(path: str) -> bool:
    """Return whether a profile is one that a process of ours has chosen, not the user."""
    shipped = str(share_path("config/fastdds.xml"))
    return path == shipped or bool(re.match(re.escape(str(cache_folder())) + r"/fastdds-\d+mb\.xml$", path))


def _content(segment: int) -> str:
    text = share_path("config/fastdds.xml").read_text(encoding="utf-8")
    text = re.sub(r" *<!-- 32 MB:.*?-->\n", "", text, flags=re.S)
    for key, value in (("segment_size", segment), ("port_queue_capacity", max(_QUEUE, 2 * segment // PIECE))):
        text = re.sub(r"(<{0}>)\d+(</{0}>)".format(key), r"\g<1>{}\g<2>".format(value), text)
    return text


def _all(element: Any, name: str) -> List[Any]:
    """Return the descendants of a name, whatever their namespace."""
    return [each for each in element.iter() if isinstance(each.tag, str) and each.tag.rsplit("}", 1)[-1] == name]


def _first(element: Any, name: str) -> Optional[Any]:
    found: Iterable[Any] = _all(element, name)
    return next(iter(found), None)


def _text(element: Optional[Any]) -> str:
    return (element.text or "").strip() if element is not None else ""


def _number(element: Optional[Any], default: int) -> int:
    text = _text(element)
    return int(text) if text.isdigit() else default
