#!/bin/bash
# Run inside an image, through entrypoint.sh: builds the package from /src/seg_node into /opt/seg_node, and looks whether
# all that a robot starts can be started. The GPU's libraries may be missing here: some JetPacks bring them at run time.
set -e
cd /src/seg_node
colcon --log-base /tmp/log build --base-paths . --build-base /tmp/build --install-base /opt/seg_node --merge-install
rm -rf /tmp/log /tmp/build
source /opt/seg_node/local_setup.bash
cd /
ros2 pkg prefix "$RMW_IMPLEMENTATION" || {
    echo "seg_node: the base image has no $RMW_IMPLEMENTATION; add --build-arg RMW=rmw_cyclonedds_cpp" >&2
    exit 1
}
if python3 -c 'import cv2' 2> /dev/null; then
    python3 -c 'import seg_node.ros.process'
else
    echo "seg_node: OpenCV does not load while building (JetPack 4 brings CUDA at run time): the node was not tried" >&2
fi
python3 -c 'from seg_node.model_card import load_card; load_card("rdsnet_camvid")'
for file in /opt/seg_node/share/seg_node/launch/*.launch.py; do
    ros2 launch "$file" --show-args > /dev/null
done
echo "seg_node: $(ros2 pkg executables seg_node | tr '\n' ' ')"
