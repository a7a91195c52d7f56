"""Speech to order: the knobs do what they say, and the samples repeat."""

from __future__ import annotations

import time

import numpy as np
import pytest

from helpers.speech import RATE, Line, listen, speak, speak_all

LINES = [
    Line("The train is late.", "en-us"),
    Line("The train is late.", "en-us+f2"),  # its breath is made of random numbers
    Line("The train is late.", "en-gb-scotland"),
]


def height(wave: np.ndarray) -> float:
    """Hertz of the strongest period of a voice, by autocorrelation."""
    spectrum = np.abs(np.fft.rfft(wave, 2 * len(wave))) ** 2
    likeness = np.fft.irfft(spectrum)[RATE // 250 : RATE // 60]
    return RATE / (RATE // 250 + int(likeness.argmax()))


def test_samples_are_what_whisper_reads() -> None:
    wave = speak("Good morning.")
    assert wave.dtype == np.float32 and wave.ndim == 1
    assert 0.3 < len(wave) / RATE < 2 and 0.1 < np.abs(wave).max() <= 1.1


def test_two_processes_say_the_same_samples_whatever_came_before() -> None:
    first = speak_all(LINES)
    speak("Something else.")
    time.sleep(1.1)  # left alone, the library takes its random numbers from the clock
    for again, wave in zip(speak_all(iter(LINES)), first, strict=True):
        np.testing.assert_array_equal(again, wave)
    voices = {wave.tobytes() for wave in first}
    assert len(voices) == len(LINES), "each voice sounds different"


def test_many_lines_cost_no_more_than_their_sound() -> None:
    # With a thread of the library's own, some hundreds of lines took minutes or hung.
    words = speak_all([Line("seven", speed=90 + n) for n in range(300)])
    assert len(words) == 300 and len(words[0]) > 1.3 * len(words[-1])


def test_pitch_raises_the_voice_and_volume_its_loudness() -> None:
    low, high = (speak("Ah, oh", pitch=pitch, melody=0) for pitch in (20, 90))
    assert height(high) > 1.3 * height(low)
    soft, loud = (speak("Ah", volume=volume) for volume in (30, 100))
    assert np.square(loud).mean() > 4 * np.square(soft).mean()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (Line(" "), "text is empty"),
        (Line("yes", "en-us+nobody"), "no speaker 'nobody'"),
        (Line("yes", "xx-yy"), "no such dialect"),
        (Line("yes", speed=10), "speed is 10; it must be 80 to 450"),
        (Line("yes", melody=100), "melody is 100"),
    ],
)
def test_what_cannot_be_said_is_named(line: Line, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        speak_all([LINES[0], line])


def test_a_saved_page_has_no_player(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wave = speak("yes")
    monkeypatch.setenv("COURSE_INTERACTIVE", "0")
    listen(wave)
    assert not capsys.readouterr().out
    monkeypatch.setenv("COURSE_INTERACTIVE", "1")
    listen(wave)
    assert "Audio" in capsys.readouterr().out
