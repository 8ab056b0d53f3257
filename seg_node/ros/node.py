"""The node: wiring between ROS and the pipeline, and no more.

Each camera's thread takes its images and leaves the newest in a slot (``receiver``); the worker's decodes, segments
and publishes labels, so that frames are never queued; one behind it paints and publishes pictures, while the network
works on the next frame; the loader's loads another model beside the running one; the executor's
does all else that others ask for; the main one waits for signals and publishes diagnostics (``process``), so that all
goes on while a model loads.
"""

import functools
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from seg_node import runtimes
from seg_node.label_set import load_label_set
from seg_node.model_card import load_card
from seg_node.pipeline.frame import Frame
from seg_node.ros import parameters
from seg_node.ros.behind import Behind
from seg_node.ros.engine import Engine, Loader, Wanted
from seg_node.ros.health import DROPS, OK, Condition
from seg_node.ros.jetson import JetsonFigures
from seg_node.ros.outputs import LabelNames
from seg_node.ros.stream import Arrival, Stream
from seg_node.ros.transport import crowded, segment_in_force, trim_malloc
from seg_node.ros.turns import Turns

_HUNG = 10.0  # seconds after which a transition gives an inference up
_SMALL = 1 << 18  # pixels of labels whose pictures are made sooner than handed to another thread
_THROTTLE = 5.0  # seconds between two log lines from one place
_PATIENCE = 15.0  # the same, of what goes as it should
_SUCCESS, _FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
_Frame = Tuple[Stream, Arrival, Frame, Dict[str, float]]


class SegmentationNode(LifecycleNode):
    """Subscribes ``image``, or ``<camera>/image`` of several; see ``outputs`` for what it publishes, and /diagnostics.

    Every frame is segmented, so that diagnostics tell the truth before anyone listens; what nobody subscribes to
    is neither painted nor published.
    """

    def __init__(self) -> None:
        """Raises parameters.ParameterError."""
        super().__init__("seg_node")
        self._streams: List[Stream] = []
        self._condition = Condition()
        self._engine: Optional[Engine] = None
        self._engine_lock = threading.Lock()  # held while a batch is at work; a swap waits for it
        self._gate = threading.Lock()  # held while a swap waits: a busy worker would take the lock again at once
        self._dressing = threading.Lock()  # held while what is set meets what runs: either may change meanwhile
        self._worker: Optional[Turns] = None
        self._painter: Optional[Behind] = None
        self._loader = self._new_loader()
        self._stuck: List[Loader] = []
        self.settings = parameters.declare(self, self._refuse, self._change)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._names = LabelNames(self)
        self._jetson = JetsonFigures()
        self._segment = segment_in_force()
        self._condition.latency_budget = self.settings.latency_budget
        for name in self.settings.cameras or ("",):
            self._streams.append(Stream(self, name, self.settings, self._condition))
        for service in self.services:
            service.callback = functools.partial(self._answer, service.callback)

    def _answer(self, callback: Callable[[Any, Any], Any], request: Any, response: Any) -> Any:
        """Answer a service's request. What is wrong with it, as an id of no transition or a type of no parameter, rclpy
        raises in the executor, which would end the node.
        """
        try:
            return callback(request, response)
        except Exception as error:
            text = "a request cannot be answered: {}".format(plain(error))
            self.get_logger().warning(text, throttle_duration_sec=_THROTTLE)
            return response  # which says, untouched, that nothing was done

    # Parameters, in the executor's thread

    def _refuse(self, values: Dict[str, Any]) -> Optional[str]:
        """Return why a change cannot be taken now."""
        engine = self._engine
        try:
            label_set = load_label_set(load_card(values["model"]).label_set) if "model" in values else None
        except Exception as error:  # a stranger's card
            return "model: {}".format(plain(error))
        runtime = values.get("runtime", "auto")
        if runtime != "auto" and not runtimes.is_installed(runtime):
            return "runtime '{}' needs {}, which is not installed".format(runtime, runtimes.backend(runtime).REQUIRES)
        if label_set is None and engine is not None:
            label_set = engine.label_set
        for name in values.get("classes", ()):
            if label_set is not None and name not in label_set.names:
                return "classes holds '{}'; this model's are {}".format(name, ", ".join(label_set.names))
        return None

    def _change(self, settings: parameters.Settings, old: parameters.Settings) -> None:
        with self._dressing:
            self.settings = settings
            self._condition.latency_budget = settings.latency_budget
            for stream in self._streams:
                stream.settings = settings
                stream.outputs.set(settings)
            engine, wanted = self._engine, _wanted(settings)
            if engine is not None:
                self._dress(engine)
        if engine is None:
            if self._condition.state == "inactive" and wanted != _wanted(old):  # the one that was wanted did not load
                self._condition.loading = wanted.model
                self._loader.load(wanted)
            return
        if wanted == engine.wanted:  # what runs, perhaps again: of what loads beside, nothing is wanted any more
            self._loader.cancel()
            self._condition.loading = ""
        elif wanted != _wanted(old):
            self._condition.loading = wanted.model
            self.get_logger().info("loading model '{}' beside '{}'".format(wanted.model, engine.card.name))
            self._loader.load(wanted)

    def _dress(self, engine: Engine) -> None:
        """Give what the parameters say to what the engine brings."""
        engine.segmenter.view = parameters.view_of(self.settings)
        for stream in self._streams:
            stream.outputs.paint_with(engine.label_set)

    # Models, in the loader's thread

    def _new_loader(self) -> Loader:
        return Loader(self._swap, self._failed_to_load, self._say)

    def _swap(self, engine: Engine) -> None:
        """Take the new engine between two frames."""
        gate, lock = self._gate, self._engine_lock
        with gate, lock, self._dressing:
            old = self._engine
            late = lock is not self._engine_lock  # a hung inference had this one, and was given up meanwhile
            wanted = self._condition.state in ("inactive", "active") and engine.wanted == _wanted(self.settings)
            fits = wanted and not late
            if fits:
                self._condition.loading = ""
                self._install(engine)
        if not fits:  # cleaned up, or something else is wanted by now
            self._close(engine)
        elif old is not None:
            self._close(old)
            trim_malloc()
            self.get_logger().info("{} has taken over from {}".format(_title(engine), _title(old)))
        elif self.settings.autostart and self.executor is not None:  # what a broken model kept it from at start
            self.executor.create_task(self._activate_late)

    def _close(self, engine: Engine) -> None:
        try:
            engine.close()
        except Exception as error:  # a device that has failed does not free anything, either
            self.get_logger().warning("cannot close {}: {}".format(_title(engine), plain(error)))

    def _activate_late(self) -> None:
        """Activate, unless somebody has done so, or has cleaned up, meanwhile."""
        if self._condition.state == "inactive":
            self.trigger_activate()

    def _failed_to_load(self, wanted: Wanted, error: Exception) -> None:
        executor = self.executor
        if executor is not None:  # in its thread, nobody sets a parameter meanwhile
            executor.create_task(self._keep, wanted, error)

    def _keep(self, wanted: Wanted, error: Exception) -> None:
        """The new model does not load: keep the old, put the parameters back, and say so."""
        engine = self._engine
        if wanted != _wanted(self.settings):
            return
        self._condition.loading = ""
        if engine is None:
            self._break(wanted, error)
            return
        text = "cannot load model '{}': {}; '{}' stays".format(wanted.model, plain(error), engine.card.name)
        self._complain(text)
        self.get_logger().error(text)
        self.set_parameters_atomically(  # one by one, each would ask for a mixture of both
            [Parameter(name, value=value) for name, value in engine.wanted._asdict().items()]
        )

    def _say(self, progress: str) -> None:
        """Tell what takes long while a model loads: an engine's build, of minutes."""
        self._condition.progress = progress
        if progress:
            self.get_logger().info(progress, throttle_duration_sec=_PATIENCE)

    def _install(self, engine: Engine) -> None:
        self._dress(engine)
        self._engine = engine
        self._condition.broken = ""
        self._condition.about = dict(engine.about())
        self._names.publish(engine.label_set)
        unknown = [name for name in self.settings.classes if name not in engine.label_set.names]
        if unknown:
            text = "classes: {} are none of this model's, and left out; those are {}".format(
                ", ".join(unknown), ", ".join(engine.label_set.names)
            )
            self._complain(text)
            self.get_logger().warning(text)

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and run it once, since a first inference can take seconds.

        Where it does not load, a lifecycle manager is told by a failure. A node that starts itself has nobody to tell:
        it stays inactive with the reason in its diagnostics, and activates once a model is set that loads.
        """
        self._condition.state = "loading"
        if not self._load() and not self.settings.autostart:
            self._condition.state = "unconfigured"
            return _FAILURE
        for stream in self._streams:
            stream.health.reset()
        self._condition.state = "inactive"
        return _SUCCESS

    def _load(self) -> bool:
        """Load the model that is wanted; returns whether it did, and says why not."""
        wanted = _wanted(self.settings)
        self._condition.broken = ""
        self._condition.about.update(model=wanted.model, runtime=wanted.runtime, device=wanted.device)
        self.get_logger().info("loading model '{}'".format(wanted.model))
        try:
            engine = Engine(wanted, self._say)
        except Exception as error:  # whatever a vendor library raises: the node stays up and says so
            self._break(wanted, error)
            return self._engine is not None
        with self._gate, self._engine_lock, self._dressing:
            old = self._engine  # of the loader, which may have been asked for it, too
            self._install(engine)
        if old is not None:
            self._close(old)
        return True

    def _break(self, wanted: Wanted, error: Exception) -> None:
        self._condition.broken = "cannot load model '{}': {}".format(wanted.model, plain(error))
        self.get_logger().error(self._condition.broken)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self._engine is None and not self._load():
            return _FAILURE
        self._painter = Behind()
        worker = self._worker = Turns(self._process, len(self._streams), self._batch)
        for slot, stream in enumerate(self._streams):
            stream.listen(functools.partial(worker.offer, slot))
        self._condition.state = "active"
        self.get_logger().info(
            "segmenting {} with {} on {}".format(
                ", ".join(stream.topic for stream in self._streams),
                self._condition.about["model"],
                self._condition.about["runtime"],
            )
        )
        return _SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        if not self._pause():
            return TransitionCallbackReturn.ERROR
        self._condition.state = "inactive"
        return _SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._condition.state = "unconfigured"  # first: a model that has loaded meanwhile does not get in
        self._release()
        self._condition.broken = ""
        return _SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._pause()
        self._condition.state = "finalized"
        self._release()
        return _SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Get back to unconfigured, where a manager may try again."""
        self._pause()
        self._condition.state = "unconfigured"
        self._release()
        self._complain("a lifecycle transition failed from state '{}'".format(state.label))
        return _SUCCESS

    def start(self) -> None:
        """Configure and activate, unless the parameters leave that to a lifecycle manager."""
        if self.settings.autostart and self.trigger_configure() == _SUCCESS and self._engine is not None:
            self.trigger_activate()

    def stop(self, patience: float) -> bool:
        """Begin no more frames; returns whether the one at hand ended within ``patience`` seconds."""
        worker, self._worker = self._worker, None
        if worker is None:
            return True
        for stream in self._streams:
            stream.pause()
        limit = time.monotonic() + patience
        ended = worker.stop(patience)
        painter, self._painter = self._painter, None
        if painter is not None:
            ended = painter.stop(max(0.05, limit - time.monotonic())) and ended
        for slot in worker.left():
            self._streams[slot].health.dropped("stopped")
        return ended

    def hush(self, patience: float) -> bool:
        """Listen to nothing any more; returns whether the clouds at hand ended within ``patience`` seconds."""
        limit = time.monotonic() + patience
        ended = [stream.hush(max(0.05, limit - time.monotonic())) for stream in self._streams]
        return all(ended)

    def close(self) -> None:
        """Free what is left and the node itself; nothing of it may be running any more."""
        self._release()
        self._jetson.close()
        self.destroy_node()

    def busy(self) -> bool:
        """Return whether a model is being loaded beside."""
        return any(loader.busy for loader in (self._loader, *self._stuck))

    def _pause(self) -> bool:
        """Stop listening and working; returns whether the last inference ended (a device may hang)."""
        for stream in self._streams:
            stream.hush()
        ended = self.stop(_HUNG)
        if not ended:
            self._engine = None  # better leaked than freed under a running inference
            self._engine_lock, self._gate = threading.Lock(), threading.Lock()  # the hung worker keeps the old ones
            self._loader.cancel()
            self._stuck.append(self._loader)  # it may wait for them
            self._loader = self._new_loader()
            self._complain("an inference, or its pictures, has not ended after {:g} s".format(_HUNG))
        return ended

    def _release(self) -> None:
        self._loader.cancel()
        self._condition.loading = ""
        with self._engine_lock:
            engine, self._engine = self._engine, None
        if engine is not None:
            self._close(engine)

    # Frames, in the worker's thread

    def _batch(self) -> int:
        """Return how many frames go through the network together."""
        engine = self._engine
        return (engine.runtime.batch or len(self._streams)) if engine else 1

    def _process(self, taken: List[Tuple[int, Arrival]]) -> None:
        """Take the newest messages of some cameras all the way."""
        with self._gate:
            pass
        with self._engine_lock:
            engine = self._engine
            if engine is None:
                return
            frames = [frame for frame in (self._decode(engine, *item) for item in taken) if frame]
            if not frames:
                return
            wishes = [stream.wants_confidence() for stream, _, _, _ in frames]
            engine.runtime.wants_confidence = any(wishes)
            try:
                painter = self._painter
                settle = painter.settle if painter is not None else None
                results = engine.segmenter.segment_many([frame for _, _, frame, _ in frames], settle)
            except Exception as error:  # one frame is no reason to stop
                if self._engine is engine:  # or it was given up, and counted, before it failed
                    for stream, _, _, _ in frames:
                        self._failed(stream, "inference_failed", error)
                return
            if self._engine is not engine:  # it hung and was given up; others may be at work by now
                return
            paintings = []
            for (stream, arrival, frame, seconds), result, wish in zip(frames, results, wishes):
                try:
                    seconds.update(result.timings)
                    stream.publish(arrival, frame, result, seconds, engine.runtime.why_unsure if wish else "")
                except Exception as error:
                    self._failed(stream, "publishing", error)
                else:
                    paint = stream.painting(arrival, frame, result)
                    if paint is not None:
                        paintings.append((stream, paint))
            if painter is None or sum(result.labels.size for result in results) < _SMALL:
                self._paint(paintings)
            else:
                painter.give(functools.partial(self._paint, paintings))

    def _paint(self, paintings: List[Tuple[Stream, Callable[[], None]]]) -> None:
        """Make pictures of labels that are out."""
        for stream, paint in paintings:
            try:
                paint()
            except Exception as error:
                self._failed(stream, "publishing", error)

    def _decode(self, engine: Engine, slot: int, arrival: Arrival) -> Optional[_Frame]:
        stream = self._streams[slot]
        try:
            start = time.perf_counter()
            waited = time.monotonic() - arrival.at
            if stream.cloud is not None:
                stream.cloud.expect(arrival.msg.header)
            frame = stream.decode(arrival.msg)
            engine.segmenter.place(frame)
            return stream, arrival, frame, {"wait": waited, "decode": time.perf_counter() - start}
        except Exception as error:
            self._failed(stream, "bad_image", error)
            return None

    def _failed(self, stream: Stream, doing: str, error: Exception) -> None:
        if not rclpy.ok():
            return  # everything ends; no news
        why = plain(error)
        if doing in DROPS:
            stream.health.dropped(doing, why)
        else:
            stream.health.error("{}: {}".format(doing, why))
        self.get_logger().warning("{}: {}".format(doing, why), throttle_duration_sec=_THROTTLE)

    # Diagnostics, in the main thread

    def report(self) -> None:
        """Publish the node's health, once a period."""
        array = DiagnosticArray()
        array.header.stamp = self.get_clock().now().to_msg()
        self._condition.crowded = crowded(sum(stream.frame_bytes() for stream in self._streams), self._segment)
        for stream in self._streams:
            report = stream.report()
            values = report.values + (list(stream.cloud.report().items()) if stream.cloud else [])
            values.append(("diagnostics_period", "{:g}".format(self.settings.diagnostics_period)))
            array.status.append(self._status(stream.name or "segmentation", report.level, report.message, values))
        if self._jetson.available:
            array.status.append(self._status("jetson", OK, "", self._jetson.read()))
        self._diagnostics.publish(array)

    def _status(self, name: str, level: int, message: str, values: List[Tuple[str, str]]) -> DiagnosticStatus:
        return DiagnosticStatus(
            level=bytes([level]),
            message=message,
            hardware_id=self._condition.about["model"],
            name="{}: {}".format(self.get_fully_qualified_name().lstrip("/"), name),
            values=[KeyValue(key=key, value=value) for key, value in values],
        )

    def _complain(self, text: str) -> None:
        for stream in self._streams:
            stream.health.error(text)


def _wanted(settings: parameters.Settings) -> Wanted:
    return Wanted(settings.model, settings.runtime, settings.device, settings.precision)


def _title(engine: Engine) -> str:
    """Return what runs, as logs name it."""
    runtime = engine.runtime
    return "'{}' ({} on {}, {})".format(engine.card.name, runtime.name, runtime.device, runtime.precision)


def plain(error: Exception) -> str:
    """Return an error's text; with its type where the text was not written for people."""
    text = " ".join(str(error).split())
    written = isinstance(error, (ValueError, OSError, ImportError, RuntimeError)) and text
    return text if written else "{}: {}".format(type(error).__name__, text)
