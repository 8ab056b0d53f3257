"""Makes ROS importable in the test process.

The ROS wheels start Python anew at the first ``import rclpy`` to set LD_LIBRARY_PATH. pytest has redirected stdout
by then, and all that the second run prints would be lost: give it the real one first.
"""

import contextlib
import importlib.util
import os


def pytest_configure(config):
    # Nobody else's robot. Early, as the first import may be any test's.
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    if importlib.util.find_spec("rclpy") is None:
        return
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.suspend_global_capture(in_=True)
    with contextlib.suppress(ImportError):  # the tests say so and skip
        import rclpy  # noqa: F401
    if capture is not None:
        capture.resume_global_capture()
