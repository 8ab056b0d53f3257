"""A video file, a camera or a stream, through OpenCV's VideoCapture."""

from collections.abc import Iterator
from pathlib import Path

import cv2

from seg_node.sources import Shot, Source, SourceError

_RATES = (1.0, 240.0)  # what a container says outside of these is a time base or nothing, not a frame rate


class VideoSource(Source):
    def __init__(self, text: str, live: bool = False) -> None:
        """``text``: a path; or, with ``live``, a camera's index or device, or a stream's address."""
        super().__init__()
        self.live = live
        self._text = text
        getattr(cv2, "setLogLevel", int)(2)  # errors only: a camera that is not there is said once, by us
        self._capture = self._open()
        width, height = (int(self._capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        name = text if live else Path(text).name
        self.title = "{} {} {}x{}".format("camera" if live else "video", name, width, height)
        self.frame_bytes = 3 * width * height
        self.rate = self._capture.get(cv2.CAP_PROP_FPS)
        if not _RATES[0] <= self.rate <= _RATES[1]:
            self.notes.append(
                "the {} does not say its frame rate: taken as 30 Hz".format("camera" if live else "video")
            )
            self.rate = 30.0
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.length = count if count > 0 and not live else None

    def _open(self) -> cv2.VideoCapture:
        """Open it and make sure that it gives a frame. Raises SourceError."""
        # From the root: FFmpeg takes "12:30.mp4" for a protocol "12".
        what = self._text if self.live else str(Path(self._text).absolute())
        capture = cv2.VideoCapture(int(what) if what.isdigit() else what)
        if capture.isOpened() and capture.grab():
            if not self.live:
                capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            return capture
        capture.release()
        if not self.live:
            raise SourceError(
                f"{self._text}: holds no video that OpenCV can play; is it whole? Try: ffmpeg -i {self._text} out.mp4"
            )
        cameras = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*"))) or "none"
        raise SourceError(
            f"camera {self._text}: gives no frames. Cameras here: {cameras}. Is another "
            "program using it, and may you read it (group 'video')?"
        )

    def shots(self) -> Iterator[Shot]:
        if not self._capture.isOpened():
            self._capture = self._open()
        while True:
            there, image = self._capture.read()
            if not there:
                break
            yield Shot(image)
        self._capture.release()  # opened afresh for the next pass: seeking back is not exact in every container

    def close(self) -> None:
        self._capture.release()
