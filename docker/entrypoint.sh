#!/bin/bash
# Makes ROS 2, wherever the base image has it, and this package known, then runs the command.
set -e
for setup in "${ROS_ROOT:-/opt/ros/$ROS_DISTRO}/install/setup.bash" "/opt/ros/$ROS_DISTRO/setup.bash"; do
    if [ -f "$setup" ]; then
        source "$setup"
        break
    fi
done
if [ -f /opt/seg_node/local_setup.bash ]; then
    source /opt/seg_node/local_setup.bash
fi
exec "$@"
