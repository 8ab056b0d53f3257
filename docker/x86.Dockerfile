# Any x86_64 or 64-bit Arm computer without an NVIDIA GPU: ROS 2 Jazzy, Ubuntu 24.04, Python 3.12, on the CPU.
# With RViz: --build-arg BASE=osrf/ros:jazzy-desktop
#   docker build -t seg_node:x86 -f docker/x86.Dockerfile .
ARG BASE=ros:jazzy-ros-base
FROM ${BASE}
ENV DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8

RUN apt-get update && apt-get install -y --no-install-recommends \
        python3-colcon-common-extensions \
        python3-opencv \
        python3-pip \
        python3-yaml \
        ros-jazzy-image-transport-plugins \
        ros-jazzy-rosbag2-storage-mcap \
        ros-jazzy-v4l2-camera \
        ros-jazzy-vision-msgs \
    && rm -rf /var/lib/apt/lists/*

ARG RMW=rmw_fastrtps_cpp
ENV RMW_IMPLEMENTATION=${RMW}
# ROS 2 Jazzy's messages are compiled against numpy 1, which Ubuntu 24.04 has.
COPY requirements/numpy1.txt /src/seg_node/requirements/
RUN python3 -m pip install --no-cache-dir --break-system-packages \
    -c /src/seg_node/requirements/numpy1.txt onnxruntime==1.23.2 openvino==2026.4.1

COPY package.xml setup.py setup.cfg pyproject.toml README.md /src/seg_node/
COPY resource /src/seg_node/resource
COPY scripts /src/seg_node/scripts
COPY config /src/seg_node/config
COPY launch /src/seg_node/launch
COPY models /src/seg_node/models
COPY seg_node /src/seg_node/seg_node
COPY docker/entrypoint.sh docker/build.sh /
RUN /entrypoint.sh /build.sh

ENTRYPOINT ["/entrypoint.sh"]
CMD ["ros2", "launch", "seg_node", "camera.launch.py", "image:=/camera/image_raw"]
