"""
Noise suppression with DTLN
===========================

Take the noise out of a recording, hop by hop, as it would be done live: two networks of somebody else, each with a state from hop
to hop, which the streams keep. Without a recording it speaks a few words itself, in noise louder than they are.

.. code-block:: sh

    python examples/denoise_dtln.py model_1.onnx model_2.onnx
    python examples/denoise_dtln.py model_1.onnx model_2.onnx noisy_16k.wav clean.wav

The models are `pretrained_model/model_1.onnx` and `model_2.onnx` of github.com/breizhn/DTLN (MIT): the first masks
the spectrum, the second works on the wave.
"""

# sphinx_gallery_start_ignore
import needs  # isort: skip  # noqa: F401  (says what to install; leave it out where you paste this)
# sphinx_gallery_end_ignore

import sys
import time

import numpy as np

import lstm_infer
from lstm_infer.cli.wav import read_wav, write_wav
from story import COLOURS, arguments, drawn
from train.keywords import OTHERS, WORDS, make_sound

RATE, BLOCK, HOP = 16000, 512, 128  # 32 ms seen at a time, 8 ms new

mask_path, wave_path, *wavs = arguments(__doc__, "dtln_model_1.onnx", "dtln_model_2.onnx")
if len(wavs) not in (0, 2):
    sys.exit(__doc__)
mask_stream = lstm_infer.load(mask_path).stream()
wave_stream = lstm_infer.load(wave_path).stream()

# %%
# What there is to hear: a recording, or words that are synthesised at 8 kHz, at twice the rate, and noise.
if wavs:
    audio, rate = read_wav(wavs[0])
    if rate != RATE:
        sys.exit(f"{wavs[0]}: expected {RATE} samples/s, got {rate}; resample it first")
    heard = audio.mean(axis=1)
else:
    rng = np.random.default_rng(2)
    said, spans = make_sound(rng.choice(WORDS + OTHERS, 6), rng, noise=0.0)
    voice = 0.3 * np.interp(np.arange(2 * len(said)) / 2, np.arange(len(said)), said)
    heard = (voice + rng.normal(0, 0.045, len(voice))).astype(np.float32)

# %%
# Hop by hop. The overlap-add is complete three hops later.
late = BLOCK - HOP
noisy = np.concatenate([heard, np.zeros(late + -len(heard) % HOP, np.float32)])
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
clean = clean[late : late + len(heard)]

hop_us = took / (len(noisy) / HOP) * 1e6
print(f"{len(heard) / RATE:.1f} s in {took:.2f} s, {hop_us:.0f} us a hop of {HOP / RATE * 1e3:.0f} ms")
if wavs:
    write_wav(wavs[1], clean, RATE)
    sys.exit()

# %%
# How much louder the voice is than what is not the voice; beside it, the best that cutting high notes off can do.
spectrum, hertz = np.fft.rfft(heard), np.fft.rfftfreq(len(heard), 1 / RATE)
cut = [np.fft.irfft(np.where(hertz < limit, spectrum, 0), len(heard)) for limit in range(500, 8001, 250)]


def decibel(sound):
    """Return the energy of the voice over that of the difference from it, in dB."""
    return 10 * np.log10(np.square(voice).sum() / np.square(voice - sound).sum())


score, baseline = decibel(clean), max(decibel(sound) for sound in cut)
print(
    f"signal to noise: {decibel(heard):.1f} dB heard, {baseline:.1f} dB behind the best low pass, {score:.1f} dB behind DTLN"
)


# %%
# What was heard, what came out, and what was said.


# sphinx_gallery_start_ignore
@drawn
def draw(plt):
    _, axes = plt.subplots(3, 1, figsize=(10, 5.4), sharex=True, sharey=True)
    sounds = {"heard": heard, "DTLN": clean, "the voice alone": voice}
    for ax, (name, sound), colour in zip(axes, sounds.items(), ("baseline", "ours", "truth"), strict=True):
        ax.plot(np.arange(len(sound)) / RATE, sound, color=COLOURS[colour], lw=0.4)
        ax.set(ylabel="amplitude", xlim=(0, len(sound) / RATE), title=name)
    axes[0].set_title(f"heard: {decibel(heard):.1f} dB, behind the best low pass {baseline:.1f} dB")
    axes[1].set_title(f"DTLN: {score:.1f} dB")
    axes[2].set_xlabel("seconds")


# sphinx_gallery_end_ignore

# %%
# The voice: `examples/train/keywords.py`.
