"""Import every module that a robot runs, with stand-ins for the libraries that this Python has not.

    python test/robot/stand_ins.py MODULE...

A stand-in gives a class for every name that is asked of it: enough to run what a module does while it is imported,
its annotations, base classes and defaults, in this very Python. Nothing that needs the library itself is tried.
"""

import importlib
import importlib.util
import sys
import traceback
import types

# beside these, every package of ROS messages
LIBRARIES = ("torch", "rclpy", "onnxruntime", "openvino", "tensorrt", "polygraphy")
MESSAGES = ("_msgs", "_interfaces")


class _Anything(type):
    """A class whose attributes are such classes, too."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        value = _Anything(name, (), {"__init__": lambda self, *args, **options: None, "__module__": cls.__module__})
        setattr(cls, name, value)
        return value


class _Module(types.ModuleType):
    __path__ = ()  # a package: what lies in it is looked for, and found below

    def __getattr__(self, name):
        return getattr(_Anything(self.__name__, (), {}), name)


class Finder:
    """Finds a stand-in for what nothing else has found."""

    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top in LIBRARIES or top.endswith(MESSAGES):
            return importlib.util.spec_from_loader(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return _Module(spec.name)

    def exec_module(self, module):
        pass


def main():
    sys.meta_path.append(Finder())
    failed = 0
    for name in sys.argv[1:]:
        try:
            importlib.import_module(name)
        except Exception:
            failed += 1
            print("{}: {}".format(name, traceback.format_exc()), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
