from seg_node.ros.stamp_pairs import StampPairs


def test_without_stamps_each_image_takes_the_depth_that_came_last():
    """As of a driver that leaves its stamps at 0, or under simulated time before there is a clock."""
    pairs = StampPairs("depth", tolerance=20_000_000, keep=5, wait=5)
    for number in range(30):
        pairs.expect(0)
        pairs.add_depth(0, f"depth {number}")
        assert pairs.add_image(0, number).pairs == [(number, f"depth {number}")]
