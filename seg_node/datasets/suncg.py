"""SUNCG (Song et al. 2017), rendered, labelled in its 90 rendered categories: ``config/labels/suncg90.yaml``.

Its layout stands in ``datasets/_suncg.py``, and how categories become NYUv2's classes in ``config/suncg.yaml``.
"""

from functools import partial

from seg_node.datasets import _suncg

LABEL_SET = "suncg90"
SPLITS = _suncg.SPLITS
open_split = partial(_suncg.open_split, label_set=LABEL_SET)
find = partial(_suncg.find, label_set=LABEL_SET)
