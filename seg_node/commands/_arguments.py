"""What argparse cannot know to be wrong."""

from collections.abc import Iterator
from contextlib import contextmanager


class WrongArguments(ValueError):
    """What was typed cannot be meant; the exit code is 2, as argparse's."""


@contextmanager
def typed() -> Iterator[None]:
    """Around what looks at nothing but the arguments: a ValueError is a WrongArguments."""
    try:
        yield
    except ValueError as error:
        raise WrongArguments(str(error)) from error
