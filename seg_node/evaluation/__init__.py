"""Scores and latency reports, made through the same pipeline and runtimes that the robot runs."""
