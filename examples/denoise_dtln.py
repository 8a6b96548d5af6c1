"""Take the noise out of a recording with DTLN, hop by hop, as it would be done live.

    python examples/denoise_dtln.py model_1.onnx model_2.onnx noisy_16k.wav clean.wav

The models are `pretrained_model/model_1.onnx` and `model_2.onnx` of github.com/breizhn/DTLN (MIT): the first masks
the spectrum, the second works on the wave. Both carry a state from hop to hop; here the streams do that.
"""

import sys
import time

import numpy as np

import lstm_infer
from lstm_infer.cli.wav import read_wav, write_wav

RATE, BLOCK, HOP = 16000, 512, 128  # 32 ms seen at a time, 8 ms new

mask_path, wave_path, noisy_path, clean_path = sys.argv[1:5]
audio, rate = read_wav(noisy_path)
if rate != RATE:
    sys.exit(f"{noisy_path}: expected {RATE} samples/s, got {rate}; resample it first")

mask_stream = lstm_infer.load(mask_path).stream()
wave_stream = lstm_infer.load(wave_path).stream()
late = BLOCK - HOP  # the overlap-add is complete three hops later
noisy = np.concatenate([audio.mean(axis=1), np.zeros(late + -len(audio) % HOP, np.float32)])
clean = np.zeros_like(noisy)
seen, summed = np.zeros(BLOCK, np.float32), np.zeros(BLOCK, np.float32)

began = time.perf_counter()
for at in range(0, len(noisy), HOP):
    seen = np.concatenate([seen[HOP:], noisy[at : at + HOP]])
    spectrum = np.fft.rfft(seen)
    mask = mask_stream.step(np.abs(spectrum).astype(np.float32).reshape(1, 1, -1))
    masked = np.fft.irfft(spectrum * mask[0, 0]).astype(np.float32)
    summed = np.concatenate([summed[HOP:], np.zeros(HOP, np.float32)])
    summed += wave_stream.step(masked.reshape(1, 1, -1))[0, 0]
    clean[at : at + HOP] = summed[:HOP]
took = time.perf_counter() - began

write_wav(clean_path, clean[late : late + len(audio)], RATE)
hop_us = took / (len(noisy) / HOP) * 1e6
print(f"{clean_path}: {len(audio) / RATE:.1f} s in {took:.2f} s, {hop_us:.0f} us a hop of {HOP / RATE * 1e3:.0f} ms")
