"""A loaded model, and the thread that loads another beside it. Imports no ROS."""

import threading
import traceback
from typing import Callable, List, NamedTuple, Optional, Tuple

import numpy as np

from seg_node.model_card import load_card
from seg_node.pipeline.frame import Frame
from seg_node.pipeline.segmenter import Segmenter
from seg_node.runtimes import Runtime, _progress, load_runtime


class Wanted(NamedTuple):
    """What a person asks for."""

    model: str
    runtime: str
    device: str
    precision: str


class Engine:
    """A network that has run once and what it needs around it; one caller at a time."""

    def __init__(self, wanted: Wanted, say: Callable[[str], None]) -> None:
        """Load, and infer once, since a first inference can take seconds. Raises whatever a vendor library raises.

        ``say`` is told what takes long, each second, and "" when that has ended.
        """
        self.wanted = wanted
        self.card = load_card(wanted.model)
        with _progress.heard_by(say):
            self.runtime: Runtime = load_runtime(self.card, wanted.runtime, wanted.device, wanted.precision)
        try:
            self.segmenter = Segmenter(self.card, self.runtime)
            self.segmenter.segment(Frame(np.zeros(self.card.size + (3,), np.uint8), self.card.channels))
        except Exception:
            self.runtime.close()
            raise
        self.label_set = self.segmenter.label_set

    def about(self) -> List[Tuple[str, str]]:
        """Return what diagnostics say of it."""
        return [
            ("model", self.card.name),
            ("runtime", self.runtime.name),
            ("device", str(self.runtime.device)),
            ("precision", self.runtime.precision),
            ("input_size", "{}x{}".format(*self.card.size)),
        ]

    def close(self) -> None:
        self.runtime.close()


class Loader:
    """Loads engines one after another in a thread of its own; of several that are asked for meanwhile, the last."""

    def __init__(
        self,
        loaded: Callable[[Engine], None],
        failed: Callable[[Wanted, Exception], None],
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        """All three are called in the loader's thread; ``say`` as by Engine."""
        self._loaded, self._failed, self._say = loaded, failed, say
        self._wanted: Optional[Wanted] = None
        self._loading: Optional[Wanted] = None
        self._lock = threading.Lock()
        self._thread: Optional[threading.Thread] = None

    def load(self, wanted: Wanted) -> None:
        """Ask for a model; returns at once. What is being loaded already is not begun again."""
        with self._lock:
            self._wanted = wanted if wanted != self._loading else None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="load", daemon=True)
                self._thread.start()

    def cancel(self) -> None:
        """Forget what has not begun; what has is still handed over when it is ready."""
        with self._lock:
            self._wanted = None

    @property
    def busy(self) -> bool:
        return self._thread is not None

    def _run(self) -> None:
        while True:
            with self._lock:
                wanted, self._wanted = self._wanted, None
                self._loading = wanted
                if wanted is None:
                    self._thread = None
                    return
            try:
                self._load(wanted)
            except Exception:  # of who was told: the next one is loaded all the same
                traceback.print_exc()

    def _load(self, wanted: Wanted) -> None:
        engine: Optional[Engine] = None
        failure: Optional[Exception] = None
        try:
            engine = Engine(wanted, self._say)
        except Exception as error:  # whatever a vendor library raises
            failure = error
        with self._lock:
            self._loading = None  # it is ready: who asks for it from now on may come too late for it
        if engine is not None:
            self._loaded(engine)
        elif failure is not None:
            self._failed(wanted, failure)
