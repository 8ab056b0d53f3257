# Jetson TX2 (and Nano, TX1, Xavier) with JetPack 4.6: L4T r32.7, Ubuntu 18.04, Python 3.6, CUDA 10.2, PyTorch 1.10.
# ROS 2 Humble, built from source, is in the base image, with v4l2_camera, vision_msgs and image_transport's plug-ins.
#   docker build -t seg_node:tx2 -f docker/tx2.Dockerfile .
ARG BASE=dustynv/ros:humble-pytorch-l4t-r32.7.1
FROM ${BASE}

# No apt here: the keys of 2023 have expired, and ROS packages of apt do not fit a ROS that was built from source.
# No onnxruntime: the last one for Python 3.6 (1.10) runs a model's file for the TX2, but on the CPU, and would be chosen
# before PyTorch on the GPU. For a board whose GPU is taken: python3 -m pip install --no-deps onnxruntime==1.10.0
# Polygraphy builds TensorRT's engines; this is the newest that 3.6 runs.
RUN python3 -m pip install --no-cache-dir --no-deps --isolated polygraphy==0.49.0

# config/fastdds.xml is for Fast DDS; this base image would take Cyclone DDS.
ARG RMW=rmw_fastrtps_cpp
ENV RMW_IMPLEMENTATION=${RMW}
# numpy 1.19's OpenBLAS mistakes this processor for another and dies of an illegal instruction.
ENV OPENBLAS_CORETYPE=ARMV8

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
