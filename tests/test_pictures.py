"""What is drawn: a model in a notebook, the net on a page, times of `bench`; nothing of a file gets in unescaped."""

from __future__ import annotations

import re
import xml.dom.minidom
from html.parser import HTMLParser

import onnx
import pytest

import every_road
import lstm_infer
import stream_models
from lstm_infer import cli
from lstm_infer.cli.command import main
from lstm_infer.cli.net.layered import GAP_X, place
from lstm_infer.cli.net.units import drawing
from lstm_infer.drive import timing

BUILT = ["hidden_state", "state_io", "frame", "both_ways", "switched", "cascade", "bands", "centred_conv", "last_step"]
VOID = {"meta", "br", "path", "rect"}


class Balanced(HTMLParser):
    """Every element that is opened is closed, in order; what stands between them."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.tags = [], [], set()
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def page_of(tmp_path, capsys, source):
    file, page = tmp_path / "net.onnx", tmp_path / "net.html"
    file.write_bytes(source)
    assert main(["inspect", str(file), "--html", str(page)]) == 0
    assert str(page) in capsys.readouterr().out
    text = page.read_text(encoding="utf-8")
    assert "http" not in text.replace('xmlns="http://www.w3.org/2000/svg"', ""), "it needs no other file"
    return text


@pytest.mark.parametrize("name", BUILT)
def test_the_page_of_a_net(name, tmp_path, capsys):
    text = page_of(tmp_path, capsys, getattr(stream_models, name)())
    found = Balanced(text)
    model = lstm_infer.load(getattr(stream_models, name)())
    said = set(found.texts)
    assert {"svg", "rect", "path", "table", "pre"} <= found.tags
    assert all(info.name in said for info in model.inputs)
    assert all(s.name in said for s in model.states)
    streams = any("Streams:" in one for one in said)
    assert streams == bool(model.states) and streams != any(one.startswith("Does not stream") for one in said)


def test_what_is_drawn_of_a_state_that_is_a_port():
    net = drawing(lstm_infer.load(stream_models.state_io()))
    kinds = [unit.kind for unit in net.units]
    assert kinds.count("state") == 2 and kinds.count("output") == 1 and "refused" not in kinds
    assert sorted(name for *_, name in net.back) == ["c0", "h0"]
    lstm = next(k for k, unit in enumerate(net.units) if unit.title.startswith("LSTM"))
    assert all(maker == lstm and net.units[state].title == name for maker, state, name in net.back)
    assert any(net.edges.values()), "the time axis is shown"


def test_what_is_drawn_of_a_state_inside():
    net = drawing(lstm_infer.load(stream_models.hidden_state()))
    (lstm,) = (unit for unit in net.units if unit.loop)
    assert lstm.loop == "h, c" and re.match(r"LSTM \d+ → \d+$", lstm.title) and "T" in lstm.shape
    assert not net.back


def test_a_size_that_the_file_leaves_open_is_shown_as_open():
    shapes = {unit.name or unit.title: unit.shape for unit in drawing(every_road.ROADS["open size"]().load()).units}
    assert shapes["x"] == "[1, ?]" and shapes["h"] == "[1, 1]"


def test_what_stands_in_the_way_is_marked():
    net = drawing(lstm_infer.load(stream_models.both_ways()))
    (refused,) = (unit for unit in net.units if unit.kind == "refused")
    assert refused.title.endswith("both ways")


EVIL = "<script>alert('&\"')</script>"


def test_names_are_escaped(tmp_path, capsys):
    model = onnx.load_from_string(stream_models.hidden_state())
    model.graph.name = model.producer_name = EVIL
    for node in model.graph.node:
        node.name = EVIL + node.name
        node.input[:] = [EVIL if name == "x" else name for name in node.input]
    model.graph.input[0].name = EVIL
    source = model.SerializeToString()
    text = page_of(tmp_path, capsys, source)
    assert "<script" not in text and "script" not in Balanced(text).tags
    assert EVIL in Balanced(text).texts
    shown = lstm_infer.load(source)._repr_html_()
    assert "<script" not in shown and EVIL in Balanced(shown).texts


@pytest.mark.parametrize("name", BUILT)
def test_a_model_in_a_notebook(name):
    model = lstm_infer.load(getattr(stream_models, name)())
    said = set(Balanced(model._repr_html_()).texts)
    assert all(info.name in said for info in (*model.inputs, *model.outputs))
    assert all(layer.name in said for layer in model.layers)
    assert all(s.evidence in said for s in model.states if s.evidence)
    assert bool(model.states) != any(one.startswith("does not stream") for one in said)


def test_reprs():
    model = lstm_infer.load(stream_models.state_io())
    n = stream_models.INPUTS
    assert f"x [T, B, {n}], h0 [1, B, " in repr(model) and "-> y [T, B, " in repr(model) and model.isa in repr(model)
    stream = model.stream(batch=3)
    assert repr(stream).startswith(f"<lstm_infer.Stream: a step of x [1, 3, {n}] -> y; 2 states, batch 3")
    lagging = lstm_infer.load(stream_models.centred_conv()).stream()
    assert ", lag 2>" in repr(lagging) and "1 state" not in repr(stream)


def test_boxes_do_not_overlap():
    """Also where edges go through several rows."""
    sizes = [(100.0, 30.0)] * 9
    edges = [(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 5), (0, 8), (4, 6), (5, 6), (6, 8), (7, 8), (1, 8)]
    at = place(sizes, edges)
    for a in range(9):
        for b in range(a):
            apart = abs(at.x[a] - at.x[b]) >= 100 + GAP_X - 1e-6 or abs(at.y[a] - at.y[b]) >= 30
            assert apart, (a, b)
    assert all(at.y[u] < at.y[v] for u, v in edges)
    assert at.y[7] == at.y[6], "what nothing leads to stands just above what it leads to"
    assert set(at.ways) == set(edges) and min(at.x) - 50 >= 0 and max(at.x) + 50 <= at.width + 1e-6
    assert place([], []).height == 0


def test_bench_draws(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    monkeypatch.setattr(timing, "ROUND_S", 0.0005)
    file, picture = tmp_path / "m.onnx", tmp_path / "times.png"
    file.write_bytes(stream_models.state_io())
    assert main(["bench", str(file), "--rounds", "2", "--plot", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main(["bench", str(file), "--rounds", "2", "--plot", str(tmp_path / "no" / "x.png")]) == 2
    monkeypatch.setattr(cli.plots, "find_spec", lambda name: None)
    assert main(["bench", str(file), "--plot", str(picture)]) == 2
    assert "lstm_infer[plot]" in capsys.readouterr().err


def test_parameters_are_those_of_the_branch_of_the_snippet(tmp_path, capsys):
    from lstm_infer.cli.describe import describe

    source = stream_models.switched()
    found = describe(lstm_infer.load(source), "m.onnx")
    value = int(re.search(r"'which': np\.(?:array\((\d+)|zeros)", found.snippet)[1] or 0)
    same = describe(lstm_infer.load(source, constants={"which": value}), "m.onnx")
    assert found.parameters == same.parameters > 0


def test_lines_end_in_arrowheads(tmp_path, capsys):
    text = page_of(tmp_path, capsys, stream_models.state_io())
    heads = set(re.findall(r'<marker id="([^"]+)"', text))
    assert heads == set(re.findall(r"marker-end:url\(#([^)]+)\)", text)) == {"to", "to-time", "to-loop"}
    assert {"time", "loop"} <= set(re.findall(r'<path class="(\w+)"', text)) <= {"flow", "time", "loop"}


@pytest.fixture
def odd():
    """A model whose names hold what a terminal and XML would take otherwise."""
    model = onnx.load_from_string(stream_models.hidden_state())
    name = 'x\x1b[31m\n<b>&"\x01'
    model.graph.input[0].name = model.graph.node[0].input[0] = name
    model.graph.node[0].name = "n\x1b[0m"
    return model.SerializeToString()


def test_control_characters_of_names_are_written_out(odd, tmp_path, capsys):
    text = page_of(tmp_path, capsys, odd)
    for drawn in re.findall("<svg.*?</svg>", text, re.DOTALL):
        xml.dom.minidom.parseString(drawn)
    assert main(["inspect", str(tmp_path / "net.onnx")]) == 0
    assert main(["inspect", str(tmp_path / "net.onnx"), "--time-axis", "none=1"]) == 2
    said, model = capsys.readouterr(), lstm_infer.load(odd)
    for shown in (said.out, said.err, repr(model), model.summary(), text, model._repr_html_()):
        assert not set(shown) & set(map(chr, (0x1B, 0x01)))
    assert "x\\x1b[31m\\x0a<b>" in model.summary() and "\n" not in repr(model)


def test_a_notebook_is_not_filled_by_a_large_model():
    model = onnx.load_from_string(stream_models.hidden_state())
    for k in range(1, 300):
        model.graph.node.append(onnx.helper.make_node("Relu", ["y"], [f"y_{k}"]))
        model.graph.output.add().CopyFrom(model.graph.output[0])
        model.graph.output[-1].name = f"y_{k}"
    text = lstm_infer.load(model)._repr_html_()
    Balanced(text)
    assert "<p>and 241 more</p>" in text and len(text) < 20_000  # 300 outputs and the input
