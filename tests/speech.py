"""Test sentences spoken by eSpeak NG, the library in the package espeakng-loader."""

from __future__ import annotations

import ctypes

import espeakng_loader
import numpy as np
from scipy.signal import resample_poly

RATE = 16_000  # samples a second, what Whisper reads
_RETRIEVAL, _UTF8 = 1, 1
_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


def speak(text: str, voice: str = "en-us", speed: int = 140) -> np.ndarray:
    """Mono float32 samples in [-1, 1] at 16 kHz; ``speed`` is in words a minute."""
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    data = espeakng_loader.get_data_path().encode()
    rate = library.espeak_Initialize(_RETRIEVAL, 0, data, 0)
    assert rate > 0, "eSpeak NG did not start"
    blocks: list[np.ndarray] = []

    @_Callback
    def collect(samples: ctypes.Array, count: int, events: int) -> int:
        if samples and count > 0:
            blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    try:
        library.espeak_SetSynthCallback(collect)
        assert library.espeak_SetVoiceByName(voice.encode()) == 0, voice
        library.espeak_SetParameter(1, speed, 0)
        spoken = text.encode()
        library.espeak_Synth(spoken, len(spoken) + 1, 0, 0, 0, _UTF8, None, None)
        library.espeak_Synchronize()
    finally:
        # Its thread would keep the process from ending.
        library.espeak_Terminate()
    wave = np.concatenate(blocks).astype(np.float64) / 32768
    step = np.gcd(RATE, rate)
    return resample_poly(wave, RATE // step, rate // step).astype(np.float32)
