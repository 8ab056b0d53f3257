"""The demo: a camera, the real node and a recorder as separate processes over real DDS.

Starts, watches and ends them, and shows what the recorder reports. Does not import rclpy itself.
"""
