"""Vibration of machines with rolling bearings, invented from their mechanics: no recording of a real machine is in it.

A defect on a ring of a bearing is struck by each ball that passes, and each stroke rings at a resonance of the housing.
How often that is follows from the geometry: R. B. Randall and J. Antoni, "Rolling element bearing diagnostics: a
tutorial", Mechanical Systems and Signal Processing 25 (2011). An unbalanced shaft shakes once a turn instead.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

HEALTHY, UNBALANCED, OUTER_RING, INNER_RING = range(4)
STATES: Final = ("healthy", "unbalanced", "outer ring", "inner ring")

SAMPLES: Final = 1024
SAMPLE_RATE_HZ: Final = 2048
DAMPING_PER_S: Final = 250
RINGING: Final = 64
"""Samples after which a stroke is no longer heard."""
BANDS: Final = 32
"""Bands of each spectrum."""
ENVELOPE_STEP_HZ: Final = 8
SIGNAL_STEP_HZ: Final = SAMPLE_RATE_HZ // 2 // BANDS

Numbers = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Machine:
    """One machine.

    Attributes:
        shaft_hz: turns a second.
        balls: in its bearing.
        ball_ratio: diameter of a ball by that of their circle.
        resonance_hz: of its housing.
        noise: of its surroundings, by the strength of a defect.
    """

    shaft_hz: float
    balls: int
    ball_ratio: float
    resonance_hz: float
    noise: float

    @classmethod
    def numbered(cls, number: int) -> "Machine":
        """Return the machine with this number, always the same one."""
        random = np.random.default_rng([70, number])
        return cls(
            shaft_hz=random.uniform(9, 16),
            balls=int(random.integers(7, 12)),
            ball_ratio=random.uniform(0.18, 0.3),
            resonance_hz=random.uniform(350, 850),
            noise=random.uniform(0.1, 0.3),
        )

    def strokes_hz(self, state: int) -> float:
        """Return how often a defect of this ring is struck in a second."""
        towards = 1 if state == INNER_RING else -1
        return self.balls / 2 * self.shaft_hz * (1 + towards * self.ball_ratio)


def vibration(machine: Machine, state: int, random: np.random.Generator) -> Numbers:
    """Return half a second of vibration: (samples,)."""
    seconds = np.arange(SAMPLES) / SAMPLE_RATE_HZ
    shaft_hz = machine.shaft_hz * random.uniform(0.97, 1.03)  # by its load
    turn = 2 * np.pi * (shaft_hz * seconds + random.random())
    shake = 1.0 if state == UNBALANCED else 0.25
    signal = shake * random.uniform(0.6, 1.4) * np.sin(turn) + random.normal(0, machine.noise, SAMPLES)
    if state in (OUTER_RING, INNER_RING):
        strokes = _strokes(machine.strokes_hz(state) * shaft_hz / machine.shaft_hz, random)
        # The inner ring turns with the shaft: its defect is struck hardest where the load is.
        load = 1 + 0.6 * np.sin(turn) if state == INNER_RING else np.ones(SAMPLES)
        ringing = np.exp(-seconds * DAMPING_PER_S) * np.sin(2 * np.pi * machine.resonance_hz * seconds)
        signal += random.uniform(0.6, 1.6) * np.convolve(strokes * load, ringing[:RINGING])[:SAMPLES]
    return signal


def _strokes(strokes_hz: float, random: np.random.Generator) -> Numbers:
    """Return 1 at each sample with a stroke and 0 elsewhere; balls slip by a little."""
    gaps = random.normal(1, 0.01, int(SAMPLES / SAMPLE_RATE_HZ * strokes_hz) + 2) / strokes_hz
    places = ((np.cumsum(gaps) - random.random() * gaps[0]) * SAMPLE_RATE_HZ).astype(int)
    strokes = np.zeros(SAMPLES)
    strokes[places[places < SAMPLES]] = 1
    return strokes


def spectra(signal: Numbers) -> Numbers:
    """Return the strength in bands of the signal's spectrum and of its envelope's, in powers of ten: (2 * bands,).

    The envelope is the signal's size above the shaking of the shaft: it repeats with the strokes, where the signal
    itself repeats with the resonance.
    """
    fast = np.diff(signal)
    envelope = np.abs(fast) - np.abs(fast).mean()
    bands = [_bands(signal, SIGNAL_STEP_HZ), _bands(envelope, ENVELOPE_STEP_HZ)]
    return np.concatenate(bands)


def _bands(signal: Numbers, step_hz: int) -> Numbers:
    strengths = np.abs(np.fft.rfft(signal * np.hanning(len(signal)))) / len(signal)
    width = step_hz * SAMPLES // SAMPLE_RATE_HZ
    inside = strengths[1 : 1 + width * BANDS].reshape(BANDS, width)
    strongest: Numbers = np.log10(inside.max(axis=1) + 1e-6)
    return strongest
