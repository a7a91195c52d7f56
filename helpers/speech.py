"""Speech made to order by eSpeak NG, the synthesiser in ``espeakng-loader``."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.environment import interactive

if TYPE_CHECKING:
    import numpy as np

__all__ = ["RATE", "Line", "listen", "speak", "speak_all"]

RATE = 16_000  # samples a second, what Whisper and wav2vec 2.0 read
_PROGRAM = Path(__file__).with_name("examples") / "speak.py"
# In the order of eSpeak's parameters 1 to 4.
_KNOBS = {"speed": (80, 450), "volume": (0, 200), "pitch": (0, 99), "melody": (0, 99)}


@dataclass(frozen=True)
class Line:
    """English words, and how to say them; 50 is a voice's own pitch and melody.

    Attributes:
        voice: a dialect (en-us, en-gb-scotland, en-029, …); "+" and a speaker's name
            (m1 to m8, f1 to f5, Annie, …) give it another throat.
        speed: words a minute, 80 to 450.
        pitch, melody: height of the voice, and how far it rises and falls; 0 to 99.
        volume: 0 to 200, where loud ones are clipped.
    """

    text: str
    voice: str = "en-us"
    speed: int = 160
    pitch: int = 50
    melody: int = 50
    volume: int = 100


def speak(text: str, voice: str = "en-us", **knobs: int) -> np.ndarray:
    """Samples of one ``Line``: float32 in [-1, 1], 16 kHz. Taught in notebook 15."""
    return speak_all([Line(text, voice, **knobs)])[0]


def speak_all(lines: Iterable[Line]) -> list[np.ndarray]:
    """Samples of several lines, in one process: the same list, the same samples.

    Raises:
        ValueError: a line without words, an unknown voice, a knob turned too far.
    """
    import espeakng_loader
    import numpy as np
    from scipy.signal import resample_poly

    data, said = espeakng_loader.get_data_path(), []
    for line in lines:
        _check(line, Path(data) / "voices" / "!v")
        said.append((line.text, line.voice, *(getattr(line, k) for k in _KNOBS)))
    job = {"library": espeakng_loader.get_library_path(), "data": data, "lines": said}
    command = [sys.executable, "-I", "-S", str(_PROGRAM)]
    text = json.dumps(job).encode()
    done = subprocess.run(command, input=text, capture_output=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr.decode(errors="replace").strip())
    waves, rest = [], memoryview(done.stdout)
    while rest:
        rate, size = struct.unpack("<II", rest[:8])
        wave = np.frombuffer(rest[8 : 8 + size], "<i2") / 32768
        step = np.gcd(RATE, rate)
        rest = rest[8 + size :]
        waves.append(resample_poly(wave, RATE // step, rate // step).astype("float32"))
    return waves


def listen(wave: Any) -> None:
    """Show a player for samples at 16 kHz; a page saved without a kernel has none."""
    if interactive():
        from IPython.display import Audio, display

        display(Audio(wave, rate=RATE))


def _check(line: Line, speakers: Path) -> None:
    if not line.text.strip():
        raise ValueError("text is empty: give at least one word.")
    for name, (low, high) in _KNOBS.items():
        if not low <= (x := getattr(line, name)) <= high:
            raise ValueError(f"{name} is {x}; it must be {low} to {high}.")
    # The library takes its own voice, silently, where it does not know the speaker.
    speaker = line.voice.partition("+")[2]
    if speaker and not (speakers / speaker).is_file():
        raise ValueError(f"voice {line.voice!r}: no speaker {speaker!r}; try 'f3'.")
