"""Lines of text to sound, in a process of its own. Started by ``helpers.speech``.

eSpeak NG keeps state from one utterance to the next and draws random numbers: the same
words come out a little different each time, except in a new process. It also starts a
thread that would keep a notebook's process from ending.

Reads {"library", "data", "lines"} as JSON from standard input; writes for every line
its rate and size in bytes (two 32-bit numbers), then its 16-bit samples.
"""

from __future__ import annotations

import ctypes
import json
import struct
import sys
from typing import Any

SYNCHRONOUS, UTF8 = 2, 1


def main(job: dict[str, Any]) -> None:
    """Speak ``job["lines"]``: text and voice, then eSpeak's parameters 1, 2, 3, 4."""
    library = ctypes.CDLL(job["library"])
    rate = library.espeak_Initialize(SYNCHRONOUS, 0, job["data"].encode(), 0)
    library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # otherwise the time of day
    if rate <= 0:
        sys.exit("eSpeak NG did not start: install espeakng-loader again.")
    samples = bytearray()

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    def collect(block: int | None, count: int, events: int | None) -> int:
        if block and count > 0:
            samples.extend(ctypes.string_at(block, 2 * count))
        return 0

    library.espeak_SetSynthCallback(collect)
    for text, voice, *settings in job["lines"]:
        if library.espeak_SetVoiceByName(voice.encode()):
            sys.exit(f"voice {voice!r}: eSpeak NG has no such dialect; try 'en-us'.")
        for number, value in enumerate(settings, start=1):
            library.espeak_SetParameter(number, value, 0)
        samples.clear()
        spoken = text.encode() + b"\0"
        library.espeak_Synth(spoken, len(spoken), 0, 0, 0, UTF8, None, None)
        sys.stdout.buffer.write(struct.pack("<II", rate, len(samples)) + samples)


if __name__ == "__main__":
    main(json.load(sys.stdin))
