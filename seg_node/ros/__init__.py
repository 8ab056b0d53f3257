"""The ROS 2 face: the only package that imports rclpy, and nothing imports it."""
