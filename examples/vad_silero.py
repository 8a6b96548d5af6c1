"""Say where somebody speaks, with Silero's voice activity detector, 32 ms at a time.

    python examples/vad_silero.py silero_vad.onnx speech_16k.wav

Takes `silero_vad.onnx` of github.com/snakers4/silero-vad (version 5 or 6: one file for two sample rates), or
`silero_vad_v6.onnx` of github.com/SYSTRAN/faster-whisper (the same network exported plainly), and a 16 kHz WAV.
"""

import sys

import numpy as np

import lstm_infer
from lstm_infer.cli.wav import read_wav

RATE, CONTEXT, HOP = 16000, 64, 512  # each window: the last 64 samples of the one before, and 512 new ones
SPEECH, SILENCE = 0.5, 0.35  # speech begins above the first and ends below the second, as in Silero's own script

model_path, wav_path = sys.argv[1:3]
audio, rate = read_wav(wav_path)
if rate != RATE:
    sys.exit(f"{wav_path}: expected {RATE} samples/s, got {rate}; resample it first")
mono = audio.mean(axis=1)

try:
    model = lstm_infer.load(model_path, constants={"sr": np.int64(RATE)})  # settles the `If` over the sample rate
except lstm_infer.FeedError:
    model = lstm_infer.load(model_path)  # exported for one rate: there is no `sr`

stream = model.stream()  # the state, which the file has as an input and an output, is carried here
mono = np.concatenate([np.zeros(CONTEXT, np.float32), mono, np.zeros(-len(mono) % HOP, np.float32)])
began: float | None = None
for at in range(0, len(mono) - CONTEXT, HOP):
    probability = np.ravel(stream.step(mono[None, at : at + CONTEXT + HOP]))[0]
    if began is None and probability >= SPEECH:
        began = at / RATE
    elif began is not None and probability < SILENCE:
        print(f"speech from {began:.2f} s to {at / RATE:.2f} s")
        began = None
if began is not None:
    print(f"speech from {began:.2f} s to the end")
