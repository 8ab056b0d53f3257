"""Every row of the papers' tables about parameters and FLOPs: reached, or known why not."""

import pytest

pytest.importorskip("torch")

from seg_node.evaluation.papers import TOLERANCE, Row, load_papers

ROWS = [row for row in load_papers() if row.network]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.paper}-{row.table}-{row.name}")
def test_a_row_of_a_papers_table(row: Row) -> None:
    counts = row.measure()
    assert counts or row.note, f"{row}: prints no figure, and no note says so"
    for what, figure in row.figures.items():
        if figure.ours is not None:
            assert counts[what] == figure.ours, what
        if figure.why:
            assert not figure.reached_by(counts[what], TOLERANCE[what]), f"{what} is reached after all: {figure.why}"
        else:
            assert figure.reached_by(counts[what], TOLERANCE[what]), f"{what}: {counts[what]}, paper {figure.printed}"
