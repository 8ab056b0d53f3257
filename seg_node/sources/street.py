"""The street: a drive that the project renders itself, with the true class of every pixel."""

from collections.abc import Iterator

import cv2

from seg_node.sources import Shot, Source, SourceError

SEED = 7  # any seed is a street; this one shows every class soon


class StreetSource(Source):
    rate = 30.0
    label_set = "camvid11"

    def __init__(self, size: tuple[int, int]) -> None:
        """``size``: (height, width). Raises SourceError where it is too small to draw a street."""
        super().__init__()
        from seg_node.datasets.street import Street

        cv2.setNumThreads(1)  # the other cores are the network's
        try:
            self._street = Street(SEED, size=size, frames_per_second=self.rate)
        except ValueError as error:
            raise SourceError(f"the street: {error}") from error
        self.frame_bytes = 4 * size[0] * size[1]  # with the ground truth
        self.title = f"street {size[1]}x{size[0]}, rendered"

    def shots(self) -> Iterator[Shot]:
        index = 0
        while True:
            image, truth = self._street.render(index)
            yield Shot(image, truth)
            index += 1
