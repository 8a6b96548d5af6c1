"""Exports the modules of the files beside it with both exporters of PyTorch and stores what the modules themselves give.

    python tests/zoo/make_torch.py [word ...]     only files whose name holds one of the words

Every seed is fixed. A file is `ts_NAME` (dynamo=False) or `dyn_NAME` (dynamo=True); `_static` where no axis was asked
to be dynamic. What a file should do is in index.json, written by hand.
"""

from __future__ import annotations

import copy
import io
import sys
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
import speech_modules as speech
import torch
import torch_modules as zoo
import torch_more as more
import torch_sensors as sensors
from keep import write

RUNS = ((6, 2), (6, 1), (13, 3), (1, 1), (23, 2))
"""Time steps and batch of the stored runs: the example's, and others."""


@dataclass
class Case:
    """A module and how it is exported. `inputs` and `outputs`: name to {axis: "T" or "B"}."""

    name: str
    make: Callable[[], torch.nn.Module]
    inputs: dict[str, dict[int, str]]
    outputs: dict[str, dict[int, str]]
    shapes: dict[str, tuple]
    """Input to its shape; "T", "B" and "S" stand for sizes, a leading int type name for integers below a bound."""
    tokens: dict[str, int] = field(default_factory=dict)
    ts: int | None = 17
    """Opset of the TorchScript exporter; None: not exported."""
    dyn: int | None = 18
    static: Sequence[str] = ()
    """Exporters asked for a file without dynamic axes too."""
    runs: Sequence[tuple[int, int]] = RUNS
    example: tuple[int, int] = (6, 2)
    script: bool = False
    tupled: int = 0
    """How many inputs at the end are one tuple."""

    def rng(self, T, B):
        return np.random.default_rng(zlib.crc32(f"{self.name} {T} {B}".encode()))

    def feeds(self, T, B):
        rng, sizes = self.rng(T, B), {"T": T, "B": B, "S": 5}
        made = {}
        for name, shape in self.shapes.items():
            extent = tuple(sizes.get(n, n) for n in shape)
            if name == "train":
                made[name] = np.array(False)
            elif name == "lengths":
                made[name] = np.maximum(1, rng.integers(1, T + 1, B)).astype(np.int64)
                made[name][rng.integers(0, B)] = T
            elif name in ("episode_start", "done"):
                made[name] = (rng.random(extent) < 0.4).astype(np.float32)
            elif name in self.tokens:
                made[name] = rng.integers(0, self.tokens[name], extent)
            else:
                made[name] = rng.uniform(-1, 1, extent).astype(np.float32)
        if self.name == "mask_net":
            made["spec"] = np.abs(made["spec"])
        return made

    def arguments(self, feeds):
        values = [torch.from_numpy(v) if v.ndim else torch.tensor(bool(v)) for v in feeds.values()]
        if self.tupled:
            return (*values[: -self.tupled], tuple(values[-self.tupled :]))
        return tuple(values)


TIME1 = {0: "B", 1: "T"}
TIME0 = {0: "T", 1: "B"}
TIME2 = {0: "B", 2: "T"}
LAYERS = {1: "B"}

CASES = [
    Case("gru_tagger", zoo.GruTagger, {"tokens": TIME1}, {"tags": TIME1}, {"tokens": ("B", "T")}, {"tokens": 20}, ts=11, dyn=20, static=("ts",)),
    Case("causal_conv_lstm", zoo.CausalConvLstm, {"x": TIME2}, {"y": TIME1}, {"x": ("B", 5, "T")}, ts=13),
    Case("same_conv_gru", zoo.SameConvGru, {"x": TIME1}, {"y": TIME1}, {"x": ("B", "T", 4)}, ts=14),
    Case("strided_conv_lstm", zoo.StridedConvLstm, {"x": TIME2}, {"y": {1: "B"}}, {"x": ("B", 3, "T")}, ts=12, runs=((12, 2), (13, 1), (14, 3), (15, 2), (41, 1)), example=(12, 2)),
    Case("seq2seq", zoo.Seq2Seq, {"src": {0: "B", 1: "S"}, "tgt": TIME1}, {"y": TIME1}, {"src": ("B", "S"), "tgt": ("B", "T")}, {"src": 15, "tgt": 13}, ts=15),
    Case("rnnt_predictor", zoo.RnntPredictor, {"y": TIME1, "h": LAYERS, "c": LAYERS}, {"out": TIME1, "hn": LAYERS, "cn": LAYERS}, {"y": ("B", "T"), "h": (2, "B", 10), "c": (2, "B", 10)}, {"y": 17}, ts=16),
    Case("rnnt_joiner", zoo.RnntJoiner, {"enc": TIME1, "pred": {0: "B", 1: "S"}}, {"logits": {0: "B", 1: "T", 2: "S"}}, {"enc": ("B", "T", 8), "pred": ("B", "S", 8)}, runs=((6, 2), (6, 1), (5, 3), (1, 1), (9, 2))),
    Case("ppo_actor_critic", zoo.PpoActorCritic, {"obs": {0: "B"}, "episode_start": {0: "B"}, "h": LAYERS, "c": LAYERS}, {"probs": {0: "B"}, "value": {0: "B"}, "hn": LAYERS, "cn": LAYERS}, {"obs": ("B", 6), "episode_start": ("B",), "h": (1, "B", 10), "c": (1, "B", 10)}, runs=((1, 2), (1, 1), (1, 5)), example=(1, 2)),
    Case("deepspeech", zoo.DeepSpeech, {"x": TIME0}, {"y": TIME0}, {"x": ("T", "B", 9)}, ts=11, static=("ts", "dyn")),
    Case("anomaly_autoencoder", zoo.AnomalyAutoencoder, {"x": TIME1}, {"y": TIME1, "score": {0: "B"}}, {"x": ("B", "T", 3)}),
    Case("char_lm", zoo.CharLm, {"x": TIME0, "h": LAYERS, "c": LAYERS}, {"logits": TIME0, "hn": LAYERS, "cn": LAYERS}, {"x": ("T", "B"), "h": (2, "B", 12), "c": (2, "B", 12)}, {"x": 30}, tupled=2, ts=18),
    Case("tied_lm", zoo.TiedLm, {"tokens": TIME1, "h": LAYERS}, {"logits": TIME1, "hn": LAYERS}, {"tokens": ("B", "T"), "h": (1, "B", 10)}, {"tokens": 25}, ts=14, dyn=19),
    Case("keyword_last", lambda: zoo.KeywordSpotter("last"), {"mel": TIME2}, {"scores": {0: "B"}}, {"mel": ("B", 6, "T")}, ts=11, runs=((6, 2), (6, 1), (13, 3), (3, 1), (23, 2))),
    Case("keyword_mean", lambda: zoo.KeywordSpotter("mean"), {"mel": TIME2}, {"scores": {0: "B"}}, {"mel": ("B", 6, "T")}, runs=((6, 2), (6, 1), (13, 3), (3, 1), (23, 2))),
    Case("beat_tracker", lambda: zoo.BeatTracker(True), {"mel": TIME1}, {"beats": TIME1}, {"mel": ("B", "T", 16)}, ts=12),
    Case("beat_tracker_causal", lambda: zoo.BeatTracker(False), {"mel": TIME1}, {"beats": TIME1}, {"mel": ("B", "T", 16)}, ts=12),
    Case("tcn_gru", lambda: zoo.TcnGru(False), {"x": TIME2}, {"y": TIME1}, {"x": ("B", 2, "T")}, ts=13),
    Case("tcn_chomp_gru", lambda: zoo.TcnGru(True), {"x": TIME2}, {"y": TIME1}, {"x": ("B", 2, "T")}, ts=13),
    Case("residual_stack", zoo.ResidualStack, {"x": TIME1}, {"y": TIME1}, {"x": ("B", "T", 5)}, ts=17, static=("dyn",)),
    Case("learned_state", zoo.LearnedState, {"x": TIME1}, {"y": TIME1}, {"x": ("B", "T", 4)}, ts=16, static=("ts",)),
    Case("speaker_gru", zoo.SpeakerGru, {"x": TIME1, "speaker": {0: "B"}}, {"y": TIME1}, {"x": ("B", "T", 5), "speaker": ("B", 6)}, ts=14),
    Case("amp_model", zoo.AmpModel, {"audio": TIME1, "knobs": {0: "B"}}, {"y": TIME1}, {"audio": ("B", "T", 1), "knobs": ("B", 2)}, ts=17),
    Case("dual_path", zoo.DualPath, {"x": TIME2}, {"y": TIME2}, {"x": ("B", 4, "T", 5)}, ts=17),
    Case("multi_head", zoo.MultiHead, {"x": TIME1}, {"classes": TIME1, "value": TIME1, "final": {0: "B"}, "h": LAYERS}, {"x": ("B", "T", 5)}, ts=15),
    Case("unrolled_decoder", zoo.UnrolledDecoder, {"x": {0: "B"}}, {"y": {0: "B"}}, {"x": ("B", "T", 4)}, runs=((6, 2), (6, 1), (6, 5))),
    Case("gru_cell_step", zoo.GruCellStep, {"x": {0: "B"}, "h1": {0: "B"}, "h2": {0: "B"}}, {"y": {0: "B"}, "h1n": {0: "B"}, "h2n": {0: "B"}}, {"x": ("B", 4), "h1": ("B", 8), "h2": ("B", 6)}, runs=((1, 2), (1, 1), (1, 5)), example=(1, 2), ts=13),
    Case("relu_rnn", zoo.ReluRnn, {"x": TIME1}, {"y": TIME1}, {"x": ("B", "T", 4)}, ts=12, static=("ts",)),
    Case("projected_lstm", zoo.ProjectedLstm, {"x": TIME1}, {"y": TIME1}, {"x": ("B", "T", 4)}, ts=None),
    Case("packed", zoo.Packed, {"x": TIME1, "lengths": {0: "B"}}, {"y": TIME1}, {"x": ("B", "T", 4), "lengths": ("B",)}, dyn=None, ts=17),
    Case("state_one_tensor", zoo.StateOneTensor, {"x": TIME1, "state": {2: "B"}}, {"y": TIME1, "next": {2: "B"}}, {"x": ("B", "T", 5), "state": (2, 2, "B", 8)}, ts=17),
    Case("state_flat", zoo.StateFlat, {"x": TIME1, "state": {0: "B"}}, {"y": TIME1, "next": {0: "B"}}, {"x": ("B", "T", 5), "state": ("B", 32)}, ts=17),
    Case("flagged_net", zoo.FlaggedNet, {"x": TIME1, "train": {}}, {"y": TIME1}, {"x": ("B", "T", 4), "train": ()}, dyn=None, ts=16, script=True),
    Case("bn_permutes", zoo.BnPermutes, {"x": TIME0}, {"y": TIME0}, {"x": ("T", "B", 6)}, ts=15, static=("dyn",)),
    Case("lookahead", zoo.Lookahead, {"x": TIME0}, {"y": TIME0}, {"x": ("T", "B", 5)}, ts=17),
    Case("mask_net", zoo.MaskNet, {"spec": TIME2}, {"y": TIME2}, {"spec": ("B", 9, "T")}, ts=17),
    Case("delta_features", zoo.DeltaFeatures, {"x": TIME1}, {"y": TIME1}, {"x": ("B", "T", 4)}, ts=17),
    Case("luong_attention", zoo.LuongAttention, {"token": TIME1, "memory": {0: "B", 1: "S"}, "h": LAYERS}, {"logits": TIME1, "hn": LAYERS}, {"token": ("B", "T"), "memory": ("B", "S", 8), "h": (1, "B", 8)}, {"token": 13}, ts=17),
    Case("multi_scale", zoo.MultiScale, {"x": TIME2}, {"y": {0: "B"}}, {"x": ("B", 4, "T")}, ts=17, runs=((6, 2), (6, 1), (13, 3), (2, 1), (23, 2))),
]  # fmt: skip


TIME3 = {0: "B", 3: "T"}
ONE = {0: "B"}
STEP = ((1, 2), (1, 1), (1, 5))
FEW = ((6, 2), (6, 1), (13, 3), (3, 1))

CASES += [
    Case("dfn_encoder", speech.DfnEncoder, {"erb": TIME2, "spec": TIME2}, {"e0": TIME2, "e1": TIME2, "e2": TIME2, "e3": TIME2, "emb": TIME1, "c0": TIME2, "lsnr": TIME1}, {"erb": ("B", 1, "T", 16), "spec": ("B", 2, "T", 12)}, runs=FEW, static=("ts",)),
    Case("dfn_erb_decoder", speech.DfnErbDecoder, {"emb": TIME1, "e3": TIME2, "e2": TIME2, "e1": TIME2, "e0": TIME2}, {"m": TIME2}, {"emb": ("B", "T", 16), "e3": ("B", 4, "T", 4), "e2": ("B", 4, "T", 4), "e1": ("B", 4, "T", 8), "e0": ("B", 4, "T", 16)}, runs=FEW),
    Case("rnnoise", speech.RnNoise, {"x": TIME1, "s1": LAYERS, "s2": LAYERS, "s3": LAYERS}, {"gain": TIME1, "vad": TIME1, "s1n": LAYERS, "s2n": LAYERS, "s3n": LAYERS}, {"x": ("B", "T", 9), "s1": (1, "B", 10), "s2": (1, "B", 10), "s3": (1, "B", 10)}, runs=((8, 2), (8, 1), (13, 3), (5, 1), (23, 2)), example=(8, 2)),
    Case("crn", speech.Crn, {"x": TIME1}, {"y": TIME1}, {"x": ("B", "T", 11)}, static=("dyn",)),
    Case("dccrn", speech.Dccrn, {"x": TIME3}, {"y": TIME3}, {"x": ("B", 2, 17, "T")}, runs=FEW),
    Case("dpcrn", speech.Dpcrn, {"x": TIME2}, {"y": TIME2}, {"x": ("B", 2, "T", 17)}, runs=FEW),
    Case("gtcrn", speech.Gtcrn, {"spec": TIME2}, {"y": TIME2}, {"spec": ("B", 12, "T", 2)}, runs=FEW, ts=None),
    Case("gtcrn_stream", speech.GtcrnStream, {"mix": {}, "conv_cache": {}, "tra_cache": {}, "inter_cache": {}}, {"y": {}, "cc": {}, "tc": {}, "ic": {}}, {"mix": (1, 6, 1, 2), "conv_cache": (1, 4, 6, 6), "tra_cache": (2, 1, 1, 4), "inter_cache": (1, 6, 4)}, runs=((1, 1),), example=(1, 1)),
    Case("fullsubnet", speech.FullSubNet, {"mag": TIME3}, {"m": TIME3}, {"mag": ("B", 1, 7, "T")}, runs=FEW),
    Case("denoiser", speech.Denoiser, {"mix": TIME2}, {"y": TIME2}, {"mix": ("B", 1, "T")}, runs=((64, 2), (64, 1), (96, 3), (32, 1)), example=(64, 2), static=("ts",), dyn=None),
    Case("open_unmix", speech.OpenUnmix, {"x": TIME3}, {"y": TIME3}, {"x": ("B", 2, 9, "T")}, static=("dyn",)),
    Case("vad_context", speech.SileroContext, {"x": ONE, "state": LAYERS, "context": ONE}, {"y": ONE, "staten": LAYERS, "contextn": ONE}, {"x": ("B", 28), "state": (2, "B", 8), "context": ("B", 4)}, runs=STEP, example=(1, 2)),
    Case("fsmn_vad", speech.FsmnVad, {"speech": TIME1, "c0": ONE, "c1": ONE, "c2": ONE}, {"y": TIME1, "o0": ONE, "o1": ONE, "o2": ONE}, {"speech": ("B", "T", 8), "c0": ("B", 5, 3, 1), "c1": ("B", 5, 3, 1), "c2": ("B", 5, 3, 1)}),
    Case("marble_gru", speech.MarbleGru, {"x": TIME2}, {"y": ONE}, {"x": ("B", 6, "T")}),
    Case("kws_crnn", speech.KwsCrnn, {"x": TIME1}, {"y": ONE}, {"x": ("B", "T", 11)}, runs=((12, 2), (12, 1), (13, 3), (4, 1), (40, 2)), example=(12, 2), static=("dyn",)),
    Case("gated_wavenet", speech.HeySnips, {"x": TIME2}, {"y": TIME1}, {"x": ("B", 6, "T")}, static=("dyn",)),
    Case("rnnt_encoder", speech.LnLstm, {"x": TIME1}, {"y": ONE}, {"x": ("B", "T", 5)}, runs=((8, 2), (8, 1), (12, 3), (2, 1)), example=(8, 2)),
    Case("decoder_step", speech.DecoderStep, {"y": ONE, "h": LAYERS, "c": LAYERS}, {"o": ONE, "hn": LAYERS, "cn": LAYERS}, {"y": ("B", 1), "h": (2, "B", 8), "c": (2, "B", 8)}, {"y": 12}, runs=STEP, example=(1, 2)),
    Case("tacotron_step", speech.Tacotron, {"frame": ONE, "ah": ONE, "ac": ONE, "dh": ONE, "dc": ONE, "w": {0: "B", 1: "S"}, "wc": {0: "B", 1: "S"}, "ctx": ONE, "memory": {0: "B", 1: "S"}, "processed": {0: "B", 1: "S"}}, {"mel": ONE, "gate": ONE, "ahn": ONE, "acn": ONE, "dhn": ONE, "dcn": ONE, "wn": {0: "B", 1: "S"}, "wcn": {0: "B", 1: "S"}, "ctxn": ONE}, {"frame": ("B", 5), "ah": ("B", 9), "ac": ("B", 9), "dh": ("B", 10), "dc": ("B", 10), "w": ("B", "S"), "wc": ("B", "S"), "ctx": ("B", 8), "memory": ("B", "S", 8), "processed": ("B", "S", 7)}, runs=STEP, example=(1, 2)),
    Case("knob_step", speech.KnobStep, {"frame": ONE, "knob": ONE, "h": ONE, "c": ONE}, {"y": ONE, "hn": ONE, "cn": ONE}, {"frame": ("B", 5), "knob": ("B", 2), "h": ("B", 8), "c": ("B", 8)}, runs=STEP, example=(1, 2)),
    Case("onsets_frames", speech.OnsetsFrames, {"mel": TIME1}, {"on": TIME1, "fr": TIME1}, {"mel": ("B", "T", 8)}),
]  # fmt: skip


BATCH, CELL, FRAME = (
    {0: "B"},
    {"x": ("B", 5), "h": ("B", 7), "c": ("B", 7)},
    {"runs": ((1, 2), (1, 1), (1, 5)), "example": (1, 2)},
)
SCRIPT = {"dyn": None, "script": True}
STEP_IN, STEP_OUT = dict.fromkeys(CELL, BATCH), {"y": BATCH, "hn": BATCH, "cn": BATCH}
WRITING = {"h1": 7, "c1": 7, "h2": 7, "c2": 7, "kappa": 3, "w": 5}

CASES += [
    Case("scripted_lstm", more.ScriptedLstm, {"x": TIME1}, {"y": TIME1}, {"x": ("B", "T", 5)}, **SCRIPT),
    Case("scripted_peephole", more.ScriptedPeephole, {"x": TIME1}, {"y": TIME1}, {"x": ("B", "T", 5)}, ts=15, **SCRIPT),
    Case("scripted_gru", more.ScriptedGru, {"x": TIME1}, {"y": TIME1}, {"x": ("B", "T", 5)}, ts=14, **SCRIPT),
    Case("scripted_indrnn", more.ScriptedIndRnn, {"x": TIME1}, {"y": TIME1}, {"x": ("B", "T", 5)}, ts=12, **SCRIPT),
    Case("mamba", more.Mamba, {"x": TIME1}, {"y": TIME1}, {"x": ("B", "T", 6)}, **SCRIPT),
    Case("lagging_loop", more.LaggingLoop, {"x": TIME1}, {"y": TIME1}, {"x": ("B", "T", 4)}, **SCRIPT),
    Case("nowcast", more.Nowcast, {"x": TIME1}, {"y": TIME1}, {"x": ("B", "T", 2, 5, 6)}, ts=16, **SCRIPT),
    Case("peephole_step", more.PeepholeStep, STEP_IN, STEP_OUT, CELL, **FRAME),
    Case("coupled_step", more.CoupledStep, STEP_IN, STEP_OUT, CELL, ts=13, **FRAME),
    Case("paper_gru_step", more.PaperGruStep, {"x": BATCH, "h": BATCH}, {"y": BATCH, "hn": BATCH}, {"x": ("B", 5), "h": ("B", 7)}, ts=16, **FRAME),
    Case("layernorm_loop", more.LayerNormLoop, {"x": BATCH}, {"y": BATCH, "h": BATCH}, {"x": ("B", "T", 5)}, runs=((6, 2), (6, 1), (6, 5))),
    Case("nowcast_unrolled", more.Nowcast, {"x": BATCH}, {"y": BATCH}, {"x": ("B", "T", 2, 5, 6)}, dyn=None, runs=((6, 2), (6, 1))),
    Case("open_unrolled", more.OpenUnrolled, {"x": TIME1}, {"y": TIME1}, {"x": ("B", "T", 4)}, dyn=None),
    Case("impala", more.Impala, {"frame": TIME0, "reward": TIME0, "action": TIME0, "done": BATCH, "h": LAYERS, "c": LAYERS}, {"policy": TIME0, "value": TIME0, "hn": LAYERS, "cn": LAYERS}, {"frame": ("T", "B", 2, 8, 8), "reward": ("T", "B"), "action": ("T", "B"), "done": ("B",), "h": (1, "B", 7), "c": (1, "B", 7)}, {"action": 3}, runs=((6, 2), (6, 1), (9, 2), (1, 1))),
    Case("sac_step", more.SacStep, {"obs": BATCH, "last": BATCH, "h": LAYERS, "c": LAYERS}, {"mean": BATCH, "log_std": BATCH, "hn": LAYERS, "cn": LAYERS}, {"obs": ("B", 6), "last": ("B", 2), "h": (1, "B", 7), "c": (1, "B", 7)}, **FRAME),
    Case("matting", more.Matting, {"src": BATCH, "r1": BATCH, "r2": BATCH}, {"fgr": BATCH, "pha": BATCH, "r1n": BATCH, "r2n": BATCH}, {"src": ("B", 3, 8, 8), "r1": ("B", 2, 4, 4), "r2": ("B", 3, 2, 2)}, **FRAME),
    Case("handwriting", more.Handwriting, {"x": BATCH, "text": {0: "B", 1: "S"}, **dict.fromkeys(WRITING, BATCH)}, {"y": BATCH, **{f"{k}n": BATCH for k in WRITING}}, {"x": ("B", 3), "text": ("B", "S", 5), **{k: ("B", n) for k, n in WRITING.items()}}, dyn=None, **FRAME),
    Case("line_reader", more.LineReader, {"image": {0: "B", 3: "T"}}, {"y": {0: "B"}}, {"image": ("B", 1, 8, "T")}, dyn=None, ts=13, runs=((24, 2), (24, 1), (40, 3), (8, 1), (92, 2)), example=(24, 2)),
]  # fmt: skip


CASES += [
    Case("battery", sensors.Battery, {"x": TIME1}, {"charge": TIME1, "share": TIME1}, {"x": ("B", "T", 3)}, ts=14),
    Case("pointer_step", sensors.PointerStep, {**STEP_IN, "source": {0: "B", 1: "S"}, "visited": {0: "B", 1: "S"}}, {"chosen": BATCH, "hn": BATCH, "cn": BATCH}, {"x": ("B", 2), "h": ("B", 7), "c": ("B", 7), "source": ("B", "S", 7), "visited": ("B", "S")}, **FRAME),
    Case("gated_forecast", sensors.GatedForecast, {"x": TIME1}, {"y": TIME1}, {"x": ("B", "T", 3)}, ts=11),
    Case("world_model_step", sensors.WorldModelStep, dict.fromkeys(("embed", "action", "deter", "stoch", "first"), BATCH), dict.fromkeys(("deviation", "deter_n", "stoch_n"), BATCH), {"embed": ("B", 5), "action": ("B", 2), "deter": ("B", 7), "stoch": ("B", 4), "first": ("B",)}, **FRAME),
    Case("deep_ar", sensors.DeepAr, {"x": TIME1, "series": BATCH}, {"y": TIME1, "mean": BATCH, "deviation": BATCH}, {"x": ("B", "T", 3), "series": ("B",)}, {"series": 6}, ts=13),
    Case("video_tagger", sensors.VideoTagger, {"x": TIME1}, {"y": TIME1}, {"x": ("B", "T", 2, 8, 8)}),
]  # fmt: skip


def build(case: Case) -> torch.nn.Module:
    torch.manual_seed(zlib.crc32(case.name.encode()))
    module = case.make().eval()
    for child in module.modules():
        if isinstance(child, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):  # running statistics that are not 0 and 1
            torch.nn.init.uniform_(child.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(child.running_var, 0.5, 1.5)
    return module


def eager(case: Case, module: torch.nn.Module, feeds: dict) -> dict:
    with torch.no_grad():
        result = module(*case.arguments(feeds))
    flat = []
    for value in result if isinstance(result, tuple) else (result,):
        flat += list(value) if isinstance(value, tuple) else [value]
    return dict(zip(case.outputs, (v.numpy() for v in flat), strict=True))


def export_ts(case: Case, module: torch.nn.Module, static: bool) -> onnx.ModelProto:
    buffer = io.BytesIO()
    axes = {} if static else {name: spec for name, spec in (case.inputs | case.outputs).items() if spec}
    if case.script:
        module = torch.jit.script(module)
    torch.onnx.export(
        module, case.arguments(case.feeds(*case.example)), buffer, dynamo=False, opset_version=case.ts,
        input_names=list(case.inputs), output_names=list(case.outputs), dynamic_axes=axes,
    )  # fmt: skip
    return onnx.load_from_string(buffer.getvalue())


def export_dyn(case: Case, module: torch.nn.Module, static: bool) -> onnx.ModelProto:
    try:
        return _export_dyn(case, module, static, torch.export.Dim.DYNAMIC)
    except torch.onnx.OnnxExporterError:  # "constraints violated": today's RNNs write sizes into their shapes
        return _export_dyn(case, module, static, torch.export.Dim.AUTO)


def _export_dyn(case: Case, module: torch.nn.Module, static: bool, dim) -> onnx.ModelProto:
    dims = dict.fromkeys("TBS", dim)
    shapes = [{axis: dims[what] for axis, what in spec.items()} for spec in case.inputs.values()]
    if case.tupled:
        shapes = [*shapes[: -case.tupled], tuple(shapes[-case.tupled :])]
    program = torch.onnx.export(
        module, case.arguments(case.feeds(*case.example)), dynamo=True, opset_version=case.dyn, verbose=False,
        input_names=list(case.inputs), output_names=list(case.outputs),
        dynamic_shapes=None if static else tuple(shapes),
    )  # fmt: skip
    return program.model_proto


def quantized(name: str, case: Case, model: onnx.ModelProto, runs: list) -> None:
    """The model with int8 weights; onnxruntime's outputs, since the framework has no such model."""
    import tempfile
    from pathlib import Path

    import onnxruntime
    from onnxruntime.quantization import quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "a.onnx", Path(folder) / "b.onnx"
        onnx.save(model, source)
        quantize_dynamic(source, target)
        small = onnx.load(target)
    session = onnxruntime.InferenceSession(small.SerializeToString())
    names = [o.name for o in session.get_outputs()]
    write(name, small, [(f, dict(zip(names, session.run(None, f), strict=True))) for f, _ in runs], "out")


def halved(name: str, case: Case, model: onnx.ModelProto, runs: list) -> None:
    """The model in half precision. The truth is the module in float32 with rounded weights: onnxruntime 1.32 crashes."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    module = build(case).half().float()
    made = []
    for feeds, _ in runs:
        feeds = {k: v.astype(np.float16) if v.dtype == np.float32 else v for k, v in feeds.items()}
        wide = {k: v.astype(np.float32) if v.dtype == np.float16 else v for k, v in feeds.items()}
        made.append((feeds, {k: v.astype(np.float16) for k, v in eager(case, module, wide).items()}))
    write(name, convert_float_to_float16(model, keep_io_types=False), made)


def optimised(name: str, case: Case, model: onnx.ModelProto, runs: list) -> None:
    """The model as onnxruntime saves it after its own optimisations."""
    import tempfile
    from pathlib import Path

    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(Path(folder) / "a.onnx")
        onnxruntime.InferenceSession(model.SerializeToString(), options)
        write(name, onnx.load(options.optimized_model_filepath), runs)


CONVERTED = {
    "ts_paper_gru_step": [("ort_paper_gru_step", optimised)],
    "ts_gru_tagger": [("q_gru_tagger", quantized), ("fp16_gru_tagger", halved)],
    "ts_char_lm": [("q_char_lm", quantized)],
    "ts_residual_stack": [("fp16_residual_stack", halved)],
}


def main(words: Sequence[str]) -> None:
    for case in CASES:
        for kind, opset, export in (("ts", case.ts, export_ts), ("dyn", case.dyn, export_dyn)):
            for static in (False, True) if kind in case.static else (False,):
                name = f"{kind}_{case.name}{'_static' if static else ''}"
                if opset is None or (words and not any(word in name for word in words)):
                    continue
                module = build(case)
                runs = [(feeds, eager(case, module, feeds)) for feeds in (case.feeds(*at) for at in case.runs)]
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    try:
                        model = export(case, module, static)
                    except Exception as error:
                        print(f"{name}: does not export: {type(error).__name__}: {str(error)[:300]}")
                        continue
                write(name, copy.deepcopy(model), runs)
                print(name, len(model.graph.node), flush=True)
                for other, convert in CONVERTED.get(name, ()):
                    convert(other, case, copy.deepcopy(model), runs)


if __name__ == "__main__":
    main(sys.argv[1:])
