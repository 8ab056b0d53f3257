"""Make a bag of a folder of images or a video, so that it can be replayed like a recorded drive.

OUT is a file that ends in .mcap, or a folder. Where a folder NAMEannot with labels lies beside the folder NAME (as in
CamVid; files of the same names, or PNGs of the same stems), they become a topic ground_truth beside the images, mono8,
class ids of label set camvid11, 255 unlabelled. Ends with 1 where labels are there and none fits. Ctrl-C ends the bag
early.

examples:
  seg-node bag-from drive.mp4 drive.mcap --compressed
  seg-node bag-from CamVid/val camvid_val.mcap
  seg-node replay camvid_val.mcap --model rdsnet_camvid --label /camera/ground_truth
  seg-node bag-from frames/ frames.mcap --rate 15 --topic /front/image_raw
"""

import argparse
from pathlib import Path

from seg_node.commands.record_street import add_codec, codec_of, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="DIR|VIDEO", help="a folder of images, or a video")
    parser.add_argument("out", type=Path, metavar="OUT", help="the bag: a .mcap file, or a folder; must not be there")
    parser.add_argument(
        "--rate", type=positive, metavar="R", help="images a second (default: the video's own; 10 for a folder)"
    )
    parser.add_argument(
        "--topic", default="/camera/image_raw", metavar="T", help="of the images (default: /camera/image_raw)"
    )
    add_codec(parser)


def run(arguments: argparse.Namespace) -> int:
    from seg_node.replay.make_bag import bag_from, open_files
    from seg_node.replay.progress import Bars

    codec = codec_of(arguments)
    source = open_files(arguments.source)
    try:
        with Bars("images") as bars:
            made = bag_from(
                arguments.out,
                source,
                arguments.rate,
                arguments.topic,
                codec,
                bars.add("writing"),
            )
    finally:
        source.close()
    print(made)
    if made.stopped:
        return 130
    return 1 if source.label_set and not made.labels else 0  # ground truth is there, and none of it fits
