import numpy as np

from seg_node.pipeline.frame import reuse


def test_a_buffer_is_reused_while_the_size_stays():
    buffer = reuse(None, (3, 4))
    assert (buffer.shape, buffer.dtype) == ((3, 4), np.uint8)
    assert reuse(buffer, (3, 4)) is buffer
    assert reuse(buffer, (3, 4, 3)).shape == (3, 4, 3)
