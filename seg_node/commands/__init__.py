"""``seg-node SUBCOMMAND``: each file here is a subcommand, found by its name.

A subcommand has a docstring (its help), ``add_arguments(parser)`` and ``run(arguments) -> exit code``, and only
parses: what it does lies elsewhere. Heavy libraries are imported inside ``run``.
"""

import argparse
import logging
import os
import sys

from seg_node import __version__, plugins

if sys.version_info < (3, 10):  # noqa: UP036  a robot's Python, where the node runs and this does not
    sys.exit(
        "seg-node needs Python 3.10 or newer; this is {}.{}. The node itself runs here: ros2 run seg_node "
        "segmentation_node, and 'python3 -m seg_node.ros.top' shows how it does".format(*sys.version_info)
    )


def main(words: list[str] | None = None) -> int:
    """Run a subcommand. Returns 0 if it did what was asked, 1 if it could not, 2 for wrong arguments."""
    try:
        try:
            return _run(words)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # who reads has gone, as head does; what is left is written nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(words: list[str] | None) -> int:
    from seg_node.commands._arguments import WrongArguments  # which an older Python cannot import

    parser = _parser()
    arguments, rest = parser.parse_known_args(words)
    # argparse takes positional words in one run only; key=value may stand behind options too
    if hasattr(arguments, "changes") and all("=" in word and not word.startswith("-") for word in rest):
        arguments.changes += rest
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s: %(message)s")
    logging.getLogger("seg_node").setLevel(logging.INFO)
    try:
        code: int = arguments.run(arguments)
    except KeyboardInterrupt:
        print("seg-node: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        raise
    except WrongArguments as error:
        print(f"seg-node {arguments.command}: {error}", file=sys.stderr)
        return 2
    except (OSError, ValueError, RuntimeError, ImportError, FloatingPointError) as error:
        if arguments.debug:
            raise
        print(f"seg-node {arguments.command}: {_words(error)}", file=sys.stderr)
        if isinstance(error, ModuleNotFoundError):
            print("training and export need more than the robot: pip install -e '.[train]'", file=sys.stderr)
        return 1
    return code


def _words(error: Exception) -> str:
    """Return an error's text; of the system's own, the file and the reason, without its number."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    return str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("seg-node", description="Real-time semantic segmentation for ROS 2.")
    parser.add_argument("--version", action="version", version=f"seg-node {__version__}")
    subcommands = parser.add_subparsers(dest="command", metavar="SUBCOMMAND", required=True)
    for file in plugins.names(__name__):
        module = plugins.load(__name__, file)
        name = file.rstrip("_").replace("_", "-")  # import_: the name alone is a word of Python
        text = module.__doc__ or ""
        sub = subcommands.add_parser(
            name, help=text.splitlines()[0], description=text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return parser
