# Jetson Orin (AGX, NX, Nano) with JetPack 6.1 or 6.2: L4T r36.4, Ubuntu 22.04, Python 3.10, CUDA 12, TensorRT 10.
# ROS 2 Humble, built from source, is in the base image. For Jazzy: --build-arg BASE=dustynv/ros:jazzy-ros-base-r36.4.0-cu128-24.04
#   docker build -t seg_node:orin -f docker/orin.Dockerfile .
ARG BASE=dustynv/ros:humble-desktop-l4t-r36.4.0
FROM ${BASE}

ARG RMW=rmw_fastrtps_cpp
ENV RMW_IMPLEMENTATION=${RMW}
# What runs a network where TensorRT does not, on the CPU. --isolated: the package index that the image names may be out of reach.
COPY requirements/numpy1.txt /src/seg_node/requirements/
RUN python3 -m pip install --no-cache-dir --isolated \
    -c /src/seg_node/requirements/numpy1.txt onnxruntime==1.23.2 polygraphy==0.53.6

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
