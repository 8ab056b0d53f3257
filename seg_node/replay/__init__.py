"""From a recorded drive to a verdict: how good, how fast, how many frames lost, and where it fails.

    drive     frames of a bag, with ground truth          session    one bag from start to end
    offline   every frame through the Segmenter           live       the bag played to the real node
    measure   what the results amount to                  spread     many bags on many machines
    report    report.json                                 compare    what a new model wins and loses
    page      report.html                                 annotated_bag, rerun_file: to look at

Knows no rclpy: what needs a node starts one as a process.
"""
