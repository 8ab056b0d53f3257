# Jetson Thor with JetPack 7: L4T r38, Ubuntu 24.04, Python 3.12, CUDA 13, TensorRT 10.13. Thor runs NVIDIA's images for
# 64-bit Arm servers; ROS 2 Jazzy comes from its own packages.
#   docker build -t seg_node:thor -f docker/thor.Dockerfile .
ARG BASE=nvcr.io/nvidia/tensorrt:25.08-py3
FROM ${BASE}
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENV DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8 ROS_DISTRO=jazzy

RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl \
    && curl -fsSL https://raw.githubusercontent.com/ros/rosdistro/master/ros.key -o /usr/share/keyrings/ros.gpg \
    && echo "deb [arch=$(dpkg --print-architecture) signed-by=/usr/share/keyrings/ros.gpg] http://packages.ros.org/ros2/ubuntu noble main" \
        > /etc/apt/sources.list.d/ros2.list \
    && apt-get update && apt-get install -y --no-install-recommends \
        python3-colcon-common-extensions \
        python3-opencv \
        python3-yaml \
        ros-jazzy-gscam \
        ros-jazzy-image-transport-plugins \
        ros-jazzy-ros-base \
        ros-jazzy-v4l2-camera \
        ros-jazzy-vision-msgs \
    && rm -rf /var/lib/apt/lists/*

ARG RMW=rmw_fastrtps_cpp
ENV RMW_IMPLEMENTATION=${RMW}
# ROS 2 Jazzy's messages are compiled against numpy 1. onnxruntime is for where TensorRT cannot run a network.
COPY requirements/numpy1.txt /src/seg_node/requirements/
RUN PIP_CONSTRAINT= python3 -m pip install --no-cache-dir --break-system-packages \
    -c /src/seg_node/requirements/numpy1.txt numpy onnxruntime==1.23.2 polygraphy==0.53.6

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
CMD ["ros2", "launch", "seg_node", "jetson.launch.py", "camera:=v4l2"]
