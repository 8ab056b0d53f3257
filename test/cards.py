"""Model cards for tests."""


def card_table(**changes: object) -> dict:
    """A valid card's table for a 48x64 network; ``changes`` replace whole sections."""
    table = {
        "name": "small",
        "network": {"name": "rdsnet", "classes": 11},
        "label_set": "camvid11",
        "input": {"size": [48, 64], "channels": "bgr", "mean": [0.4, 0.4, 0.4], "std": [0.3, 0.3, 0.3]},
        "output": {"kind": "labels"},
        "files": {},
    }
    table.update(changes)
    return table
