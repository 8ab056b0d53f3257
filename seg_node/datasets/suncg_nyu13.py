"""SUNCG (Song et al. 2017), rendered, labelled in NYUv2's 13 classes: ``config/labels/nyu13.yaml``.

Its layout stands in ``datasets/_suncg.py``, and how categories become NYUv2's classes in ``config/suncg.yaml``.
"""

from functools import partial

from seg_node.datasets import _suncg

LABEL_SET = "nyu13"
SPLITS = _suncg.SPLITS
open_split = partial(_suncg.open_split, label_set=LABEL_SET)
find = partial(_suncg.find, label_set=LABEL_SET)
