import pytest


@pytest.fixture(scope="module")
def client():
    """Who talks to a file's nodes."""
    from harness import Client  # which needs ROS; those files are skipped where there is none

    from seg_node.ros.transport import sweep

    client = Client()
    yield client
    client.close()
    sweep()  # after those that were killed
