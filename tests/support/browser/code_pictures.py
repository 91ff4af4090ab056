"""Pictures of codes, drawn by the tables of the standards, and what light and hands do to them."""

from __future__ import annotations

import io

import cv2
import numpy as np
import segno
from PIL import Image

# ISO/IEC 15420: the seven modules of a digit, set A; B is A's complement in reverse, C is A's complement.
SET_A = ["0001101", "0011001", "0010011", "0111101", "0100011", "0110001", "0101111", "0111011", "0110111", "0001011"]
SET_C = ["".join("10"[int(bit)] for bit in digit) for digit in SET_A]
SET_B = [digit[::-1] for digit in SET_C]
FIRST_DIGIT = ["AAAAAA", "AABABB", "AABBAB", "AABBBA", "ABAABB", "ABBAAB", "ABBBAA", "ABABAB", "ABABBA", "ABBABA"]
# The parities of a UPC-E of number system 0, by its check digit.
UPC_E = ["BBBAAA", "BBABAA", "BBAABA", "BBAAAB", "BABBAA", "BAABBA", "BAAABB", "BABABA", "BABAAB", "BAABAB"]
# ISO/IEC 15417: bars and spaces of the values that a test needs, in set B.
CODE_128 = {
    "A": "111323", "B": "131123", "C": "131321", "D": "112313", "0": "123122", "1": "123221", "2": "223211",
    "3": "221132", "4": "221231", "5": "213212", "6": "223112", "7": "312131", "8": "311222", "9": "321122",
    "-": "122132",
}  # fmt: skip
CODE_128_VALUES = {"A": 33, "B": 34, "C": 35, "D": 36, "-": 13} | {str(digit): 16 + digit for digit in range(10)}
START_B, STOP = "211214", "2331112"


def bars(modules: str, scale: int = 3, height: int = 150) -> Image.Image:
    """Draw modules with a quiet zone around them."""
    row = np.array([255 * (bit == "0") for bit in f"{'0' * 12}{modules}{'0' * 12}"], np.uint8)
    pixels = np.repeat(np.repeat(row[None], height, 0), scale, 1)
    return Image.fromarray(np.pad(pixels, ((30, 30), (0, 0)), constant_values=255))


def ean_13(code: str) -> Image.Image:
    sets = {"A": SET_A, "B": SET_B}
    left = "".join(sets[kind][int(digit)] for kind, digit in zip(FIRST_DIGIT[int(code[0])], code[1:7], strict=True))
    return bars(f"101{left}01010{''.join(SET_C[int(digit)] for digit in code[7:])}101")


def ean_8(code: str) -> Image.Image:
    left, right = (
        "".join(digits[int(digit)] for digit in half) for digits, half in ((SET_A, code[:4]), (SET_C, code[4:]))
    )
    return bars(f"101{left}01010{right}101")


def upc_e(code: str) -> Image.Image:
    sets = {"A": SET_A, "B": SET_B}
    middle = "".join(sets[kind][int(digit)] for kind, digit in zip(UPC_E[int(code[7])], code[1:7], strict=True))
    return bars(f"101{middle}010101")


def code_128(text: str) -> Image.Image:
    check = (104 + sum(place * CODE_128_VALUES[char] for place, char in enumerate(text, 1))) % 103
    widths = START_B + "".join(CODE_128[char] for char in text) + _widths_of(check) + STOP
    return bars("".join("10"[place % 2] * int(width) for place, width in enumerate(widths)))


def _widths_of(value: int) -> str:
    by_value = {CODE_128_VALUES[char]: widths for char, widths in CODE_128.items()}
    return by_value[value]


def qr(text: str, scale: int = 8) -> Image.Image:
    drawn = io.BytesIO()
    segno.make_qr(text, error="h").save(drawn, kind="png", border=4, scale=scale)
    with Image.open(drawn) as made:
        return made.convert("L")


def on_a_shelf(*codes: Image.Image, size: tuple[int, int] = (960, 720)) -> Image.Image:
    """Lay codes side by side on a grey board."""
    board = Image.new("L", size, 130)
    place = 20
    for code in codes:
        board.paste(code, (place, (size[1] - code.height) // 2))
        place += code.width + 20
    return board


def turned(picture: Image.Image, degrees: float) -> Image.Image:
    return picture.rotate(degrees, Image.Resampling.BILINEAR, expand=True, fillcolor=130)


def dark(picture: Image.Image) -> Image.Image:
    """Leave a twentieth of the light, on a sensor that is never quite black."""
    return picture.point([12 + value // 20 for value in range(256)])


def noisy(picture: Image.Image, strength: float, seed: int = 7) -> Image.Image:
    noise = np.random.default_rng(seed).normal(0, strength, (picture.height, picture.width))
    return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    made = io.BytesIO()
    picture.save(made, kind, **options)
    return made.getvalue()


def film(path: str, frames: list[Image.Image], codec: str = "MJPG") -> None:
    """Write a video file, ten frames a second."""
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*codec), 10, frames[0].size)
    assert writer.isOpened()
    for frame in frames:
        writer.write(np.asarray(frame.convert("RGB")))
    writer.release()


def jpegs(frames: list[Image.Image]) -> bytes:
    """Return frames one after another, as a browser's fake camera takes them from a file named .mjpeg."""
    return b"".join(encoded(frame.convert("RGB"), "JPEG", quality=90) for frame in frames)
