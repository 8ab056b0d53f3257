# Jetson Xavier (AGX, NX) with JetPack 5.1: L4T r35.3 and other r35, Ubuntu 20.04, Python 3.8, CUDA 11.4, TensorRT 8.5.
# ROS 2 Humble, built from source, and PyTorch are in the base image.
#   docker build -t seg_node:xavier -f docker/xavier.Dockerfile .
ARG BASE=dustynv/ros:humble-pytorch-l4t-r35.3.1
FROM ${BASE}

# No apt here: see tx2.Dockerfile. Polygraphy builds TensorRT's engines; --isolated: not from the image's index.
RUN python3 -m pip install --no-cache-dir --no-deps --isolated polygraphy==0.53.6
# config/fastdds.xml is for Fast DDS; this base image would take Cyclone DDS.
ARG RMW=rmw_fastrtps_cpp
ENV RMW_IMPLEMENTATION=${RMW}

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
