import array

import numpy as np
import pytest

from seg_node.pipeline.frame import array_of, reuse


def test_a_buffer_is_reused_while_the_size_stays():
    buffer = reuse(None, (3, 4))
    assert (buffer.shape, buffer.dtype) == ((3, 4), np.uint8)
    assert reuse(buffer, (3, 4)) is buffer
    assert reuse(buffer, (3, 4, 3)).shape == (3, 4, 3)


def test_a_buffer_lies_in_an_array():
    buffer = reuse(None, (3, 4, 3))
    buffer[1, 2] = (7, 8, 9)
    data = array_of(buffer)
    assert isinstance(data, array.array) and data.tobytes() == buffer.tobytes()
    assert array_of(buffer[:]) is data and array_of(buffer.reshape(3, 12)) is data


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((3, 4), np.uint8),
        np.frombuffer(bytes(12), np.uint8).reshape(3, 4),
        np.frombuffer(array.array("H", [0] * 6), np.uint8),
        reuse(None, (3, 4))[:2],
        reuse(None, (3, 4))[:, ::-1],
        reuse(None, (3, 4)).T,
        reuse(None, (3, 4)).view(np.int8),
    ],
    ids=["its own", "bytes", "another type", "a part", "mirrored", "turned", "signed"],
)
def test_what_is_no_whole_buffer_has_no_array(image):
    assert array_of(image) is None
