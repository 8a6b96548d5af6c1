"""
Voice activity with Silero's detector
=====================================

Say where somebody speaks, 32 ms at a time. Without a recording it speaks a few words itself, beside a machine
that beeps; how loud it is then says little, which is the baseline.

.. code-block:: sh

    python examples/vad_silero.py silero_vad.onnx
    python examples/vad_silero.py silero_vad.onnx speech_16k.wav

Takes `silero_vad.onnx` of github.com/snakers4/silero-vad (version 5 or 6: one file for two sample rates), or
`silero_vad_v6.onnx` of github.com/SYSTRAN/faster-whisper (the same network exported plainly), and a 16 kHz WAV.
"""

# sphinx_gallery_start_ignore
import needs  # isort: skip  # noqa: F401  (says what to install; leave it out where you paste this)
# sphinx_gallery_end_ignore

import sys

import numpy as np

import lstm_infer
from lstm_infer.cli.wav import read_wav
from story import COLOURS, arguments, drawn
from train.keywords import OTHERS, WORDS, make_sound

RATE, CONTEXT, HOP = 16000, 64, 512  # each window: the last 64 samples of the one before, and 512 new ones
SPEECH, SILENCE = 0.5, 0.35  # speech begins above the first and ends below the second, as in Silero's own script

model_path, *wavs = arguments(__doc__, "silero_vad.onnx")
if len(wavs) > 1:
    sys.exit(__doc__)
try:
    model = lstm_infer.load(model_path, constants={"sr": np.int64(RATE)})  # settles the `If` over the sample rate
except lstm_infer.FeedError:
    model = lstm_infer.load(model_path)  # exported for one rate: there is no `sr`

# %%
# What there is to hear: a recording, or words that are synthesised at 8 kHz, at twice the rate, and a machine.
if wavs:
    audio, rate = read_wav(wavs[0])
    if rate != RATE:
        sys.exit(f"{wavs[0]}: expected {RATE} samples/s, got {rate}; resample it first")
    mono = audio.mean(axis=1)
else:
    rng = np.random.default_rng(2)
    said, spans = make_sound(rng.choice(WORDS + OTHERS, 14), rng, noise=0.0, gap=(0.3, 1.2))
    voice = 0.3 * np.interp(np.arange(2 * len(said)) / 2, np.arange(len(said)), said)
    t = np.arange(len(voice)) / RATE
    beeps = 0.2 * np.sin(2 * np.pi * 1400 * t) * (t % 1.1 < 0.3)
    mono = (voice + beeps + rng.normal(0, 0.001, len(voice))).astype(np.float32)

# %%
# The state, which the file has as an input and an output, is carried by the stream.
stream = model.stream()
padded = np.concatenate([np.zeros(CONTEXT, np.float32), mono, np.zeros(-len(mono) % HOP, np.float32)])
starts = range(0, len(padded) - CONTEXT, HOP)
chance = np.array([np.ravel(stream.step(padded[None, at : at + CONTEXT + HOP]))[0] for at in starts])

# %%
# Speech begins where it is likely, and ends where it is not any more.
spoken, now = np.zeros(len(chance), bool), False
for k, probability in enumerate(chance):
    now = probability >= SPEECH or (now and probability >= SILENCE)
    spoken[k] = now
edges = np.flatnonzero(np.diff(spoken, prepend=False, append=False)).reshape(-1, 2) * HOP / RATE
if wavs:
    for begin, end in edges:
        print(f"speech from {begin:.2f} s to {end:.2f} s")
    if not len(edges):
        print(f"no speech in {len(mono) / RATE:.2f} s; the chance of it was {chance.max(initial=0):.0%} at most")
    sys.exit()

# %%
# Beside what was spoken, and beside the best limit on how loud it is.
truth = np.zeros(len(chance), bool)
for begin, end in np.array(spans) * 0.01:
    truth[int(begin * RATE / HOP) : int(end * RATE / HOP) + 1] = True
loud = np.square(padded[CONTEXT:]).reshape(-1, HOP).mean(axis=1)
score = (spoken == truth).mean()
baseline = max(((loud > limit) == truth).mean() for limit in loud)
print(f"right in {score:.0%} of the windows of 32 ms; the best limit on the loudness {baseline:.0%}")


# %%
# It lets the machine beep.


# sphinx_gallery_start_ignore
@drawn
def draw(plt):
    _, (above, below) = plt.subplots(2, 1, figsize=(10, 4.6), sharex=True)
    above.plot(np.arange(len(mono)) / RATE, mono, color=COLOURS["truth"], lw=0.4)
    above.set(ylabel="amplitude", title="Words, and a machine that beeps every 1.1 seconds")
    below.plot((np.arange(len(chance)) + 0.5) * HOP / RATE, chance, color=COLOURS["ours"], lw=1)
    for begin, end in np.array(spans) * 0.01:
        below.axvspan(begin, end, color=COLOURS["truth"], alpha=0.25, lw=0)
    below.set(xlabel="seconds", ylabel="chance of speech", xlim=(0, len(mono) / RATE), ylim=(0, 1.05))
    below.set_title(
        f"Grey: spoken. Silero is right {score:.0%} of the time, the best limit on the loudness {baseline:.0%}"
    )


# sphinx_gallery_end_ignore

# %%
# The voice: `examples/train/keywords.py`.
