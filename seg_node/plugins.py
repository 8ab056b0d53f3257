"""Find a module by its file name.

A backend, a network or a dataset is one file in its package; its name is the file's name. Files whose
name begins with an underscore are shared parts and are not listed. Nothing is imported to list names.
"""

import importlib
import pkgutil
from types import ModuleType
from typing import List


def names(package: str) -> List[str]:
    """Return the sorted plug-in names of a package such as ``"seg_node.runtimes"``."""
    paths = importlib.import_module(package).__path__
    return sorted(m.name for m in pkgutil.iter_modules(paths) if not m.name.startswith("_"))


def load(package: str, name: str) -> ModuleType:
    """Import plug-in ``name`` of ``package``.

    Raises ValueError that lists the names there are, and lets the plug-in's own ImportError through
    (a vendor library that is not installed).
    """
    known = names(package)
    if name not in known:
        kind = package.rsplit(".", 1)[-1]
        raise ValueError("no '{}' among the {}: choose from {}".format(name, kind, ", ".join(known)))
    return importlib.import_module("{}.{}".format(package, name))
