"""Pictures inside the page: files beside a report as data URIs, small enough that the page can be mailed."""

import base64
from pathlib import Path

import cv2
import numpy as np

_WIDEST = 1280  # pixels; what a screen shows
_LARGEST = 300_000  # bytes of a file that is taken as it is
_KINDS = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}


def data_uri(folder: Path, name: str | None) -> str | None:
    """Return the picture ``folder/name`` as a data URI; None where there is none that can be shown.

    A report may come from anywhere: what is no picture, or does not lie in a folder called worst, is not shown. That
    folder may be another report's, as in one that was merged.
    """
    if not name:
        return None
    try:
        path = (folder / name).resolve()
        if path.parent.name != "worst":
            return None
        content = path.read_bytes()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
    kind = next((kind for start, kind in _KINDS.items() if content.startswith(start)), None)
    if kind is None:
        return None
    if len(content) > _LARGEST:
        smaller = _smaller(content)
        if smaller is None:
            return None
        content, kind = smaller, "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def png_uri(image: np.ndarray) -> str:
    """Return uint8 (H, W, 3) BGR as a PNG in a data URI."""
    _, content = cv2.imencode(".png", image)
    return f"data:image/png;base64,{base64.b64encode(content.tobytes()).decode()}"


def _smaller(content: bytes) -> bytes | None:
    """Return a JPEG of at most ``_WIDEST`` pixels across; None where OpenCV cannot read the picture."""
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        return None
    scale = min(1.0, _WIDEST / max(image.shape[:2]))
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    _, written = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 88])
    return bytes(written.tobytes())
