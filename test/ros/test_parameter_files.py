import pytest

from seg_node.ros.parameter_files import value_in


@pytest.mark.parametrize(
    ("text", "runtime"),
    [
        ("/**: {ros__parameters: {runtime: onnx}}", "onnx"),
        ("/front: {seg_node: {ros__parameters: {model: mine, runtime: auto}}}", "auto"),
        ("camera: {ros__parameters: {rate: 30}}\nseg_node: {ros__parameters: {runtime: torch}}", "torch"),
        ("/**: {ros__parameters: {precision: fp32}}", None),
        ("/**: {ros__parameters: }", None),
        ("[a, list", None),
        ("", None),
    ],
)
def test_a_value_is_found_in_whichever_nodes_part_it_is(tmp_path, text, runtime):
    (tmp_path / "mine.yaml").write_text(text)
    assert value_in(str(tmp_path / "mine.yaml"), "runtime") == runtime


def test_a_file_that_is_not_there_says_nothing():
    assert value_in("/nowhere/mine.yaml", "runtime") is None
