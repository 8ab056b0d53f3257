"""Read a damaged bag as far as it can be read: what cannot is passed over, not the end of the drive.

``rosbags`` ends at the first thing that it cannot read. An MCAP file, however, says in its index where each chunk of
messages lies and how many of each topic are in it: one bad chunk costs itself.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

Found = tuple[Any, int, bytes]  # rosbags' connection, when it was recorded (ns), message; b"" for one that is lost

_ZSTD = b"\x28\xb5\x2f\xfd"  # no CDR begins like that


def take_messages_as_they_are(reader: Any) -> None:
    """Have ``decompressed`` undo a message's own compression instead of the reader, which ends where it fails."""
    storage = getattr(reader, "storage", reader)
    metadata: Any = getattr(storage, "metadata", None)
    if getattr(metadata, "compression_mode", None) == "message":
        storage.metadata = metadata._replace(compression_mode=None)


def messages(reader: Any, connections: Sequence[Any], say: Callable[[str], None]) -> Iterator[Found]:
    """Give the messages of ``connections`` (none: of all) in time order.

    Lost ones of which the bag's index tells are there without content, so that those behind them keep their places.
    ``say`` is told what is lost.
    """
    last = -1
    try:
        for connection, logged, data in _all(reader, connections):
            last = max(last, logged)
            yield connection, logged, _decompressed(bytes(data), say)
        return
    except Exception as error:  # damaged data fails in any layer
        chunks = [chunk for chunk in _chunks(reader) if chunk[0].message_end_time > last]
        if not chunks:
            say(f"damaged and cannot be read to its end ({error})")
            return
    yield from _chunk_by_chunk(reader, connections, chunks, last, say)


def _chunk_by_chunk(
    reader: Any, connections: Sequence[Any], chunks: Sequence[Any], last: int, say: Callable[[str], None]
) -> Iterator[Found]:
    """As ``messages``, what was recorded after ``last``; ``chunks``: (chunk, ids and their connections), by time."""
    for chunk, ids in chunks:
        try:
            span = max(last + 1, chunk.message_start_time), chunk.message_end_time + 1
            found = list(reader.messages(connections, *span)) if span[0] < span[1] else []
            for connection, logged, data in found:
                yield connection, logged, _decompressed(bytes(data), say)
        except Exception as error:
            wanted = {(c.topic, c.msgtype): c for c in connections}
            lost = [
                wanted[key]
                for i, count in chunk.channel_count.items()
                if (key := ids.get(i)) in wanted
                for _ in range(count)
            ]
            say(f"damaged: a part of it cannot be read ({error})")
            for connection in lost:
                yield connection, chunk.message_start_time, b""
        last = max(last, chunk.message_end_time)


def _all(reader: Any, connections: Sequence[Any]) -> Iterator[Found]:
    storage = getattr(reader, "storage", reader)
    if hasattr(storage, "messages_scan") and not storage.chunks:
        # without an index rosbags would refuse messages that were not recorded in the order of their times
        yield from storage.messages_scan(connections or storage.connections)
    else:
        yield from reader.messages(connections)


def _chunks(reader: Any) -> list[tuple[Any, dict[int, tuple[str, str]]]]:
    """Return the chunks of MCAP files by time, each with what its channels' ids mean; none for other formats."""
    storage = getattr(reader, "storage", reader)
    found = []
    for part in getattr(storage, "storages", [storage]):
        ids = {c.id: (c.topic, c.msgtype) for c in part.connections}
        found += [(chunk, ids) for chunk in getattr(part, "chunks", [])]
    return sorted(found, key=lambda one: one[0].message_start_time)


def _decompressed(message: bytes, say: Callable[[str], None]) -> bytes:
    """Undo a message's own compression; b"" where it is damaged."""
    if not message.startswith(_ZSTD):
        return message
    from rosbags.rosbag2 import reader

    try:
        return bytes(reader.zstd.decompress(message))
    except Exception as error:
        say(f"damaged: messages in it cannot be read ({error})")
        return b""
