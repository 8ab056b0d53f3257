"""A camera's images, taken in a thread of their own.

The executor builds its wait set anew for each image, twice, out of all services, publishers' events and timers that a
node has. That takes longer than taking an image of 480x360. Here the wait set has the one subscription, and stays.
"""

import contextlib
import threading
from typing import Any, Callable, Dict

from rclpy.callback_groups import CallbackGroup
from rclpy.guard_condition import GuardCondition
from rclpy.impl.implementation_singleton import rclpy_implementation as _rclpy
from rclpy.subscription import Subscription

_LOOK_UP = 500_000_000  # ns after which it looks whether ROS was shut down meanwhile


class NotForTheExecutor(CallbackGroup):
    """The group of a subscription that a ``Receiver`` waits for.

    Its events are the receiver's, too: Fast DDS wakes who waits for them whenever a message comes.
    """

    def can_execute(self, entity: Any) -> bool:
        return False

    def beginning_execution(self, entity: Any) -> bool:
        return False

    def ending_execution(self, entity: Any) -> None:
        pass


class Receiver:
    """Takes a subscription's messages, serialized if it is a raw one, and its events, until it is stopped."""

    def __init__(
        self,
        subscription: Subscription,
        take: Callable[[Any, Dict[str, Any]], None],
        failed: Callable[[Exception], None],
        context: Any,
    ) -> None:
        """``take`` gets a message and what the middleware tells of it; ``failed``, what it or the middleware raised.

        Both are called in the receiver's thread, as the callbacks of the subscription's events are.
        """
        self._subscription, self._take, self._failed, self._context = subscription, take, failed, context
        self._awake = GuardCondition(None, None, context)
        self._running = True
        self._thread = threading.Thread(target=self._run, name="receive", daemon=True)
        self._thread.start()

    def stop(self, patience: float) -> bool:
        """Take no more; returns whether the thread ended within so many seconds."""
        self._running = False
        with contextlib.suppress(_rclpy.InvalidHandle):  # the thread has ended by itself
            self._awake.trigger()
        self._thread.join(patience)
        return not self._thread.is_alive()

    def _run(self) -> None:
        events = self._subscription.event_handlers
        try:
            with contextlib.ExitStack() as held:  # none of them is destroyed meanwhile
                for handle in (self._subscription.handle, self._awake.handle, self._context.handle, *events):
                    held.enter_context(handle)
                wait_set = _rclpy.WaitSet(1, 1, 0, 0, 0, len(events), self._context.handle)
                while self._running and self._context.ok():
                    self._wait(wait_set)
        except Exception as error:
            self._tell(error)
        self._awake.destroy()

    def _wait(self, wait_set: Any) -> None:
        """Wait for a message or an event, or a moment, and take it."""
        images = self._subscription.handle
        wait_set.clear_entities()
        wait_set.add_subscription(images)
        wait_set.add_guard_condition(self._awake.handle)
        for event in self._subscription.event_handlers:
            event.add_to_wait_set(wait_set)
        wait_set.wait(_LOOK_UP)
        if not self._running:
            return
        try:
            for event in self._subscription.event_handlers:
                news = event.take_data() if event.is_ready(wait_set) else None
                if news:
                    event.callback(news)
            if images.pointer in wait_set.get_ready_entities("subscription"):
                taken = images.take_message(self._subscription.msg_type, self._subscription.raw)
                if taken is not None:
                    self._take(*taken)
        except Exception as error:  # one message is no reason to stop
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        if self._running and self._context.ok():
            self._failed(error)
