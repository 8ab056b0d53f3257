"""The online flow, left to right: frame, network_input, segmenter, overlay, latency. Knows no ROS."""
