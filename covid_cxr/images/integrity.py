"""What a file says of its own wholeness: checksums, ends, and the length of its data.

Pillow reads past most of these: a PNG whose checksums are wrong, or whose compressed
data end early, gives grey or black where there was tissue.
"""

from __future__ import annotations

import struct
import zlib

_AT_ONCE = 2**20  # bytes inflated at once; bounds memory whatever the file promises
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # PNG colour type to samples a pixel
# Adam7: first column, first row, and steps of the seven passes.
_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


def png_fault(data: bytes) -> str:
    """Return what is wrong with a PNG file's chunks, "" if nothing is.

    Args:
        data: the file, with its signature.
    """
    at, header, packed = 8, b"", []
    while True:
        if at + 12 > len(data):
            return "the PNG is cut short: it has no end"
        size, name = struct.unpack_from(">I4s", data, at)
        end = at + 8 + size
        if end + 4 > len(data):
            return "the PNG is cut short: a chunk leaves the file"
        if struct.pack(">I", zlib.crc32(data[at + 4 : end])) != data[end : end + 4]:
            return "the PNG is damaged: a checksum does not fit its chunk"
        if name == b"IHDR":
            header = data[at + 8 : end]
        elif name == b"IDAT":
            packed.append(data[at + 8 : end])
        elif name == b"IEND":
            break
        at = end + 4
    expected = _png_bytes(header)
    if expected and inflated_size(packed, expected, zlib.MAX_WBITS) < expected:
        return "the PNG is damaged: its data end before its last row"
    return ""


def _png_bytes(header: bytes) -> int:
    """Return the bytes that the rows of a PNG fill, 0 for a header of no sense."""
    if len(header) != 13:
        return 0
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", header)
    bits = depth * _SAMPLES.get(colour, 0)
    passes = _PASSES if interlace else ((0, 0, 1, 1),)
    total = 0
    for left, top, across, down in passes:
        columns = -(-(width - left) // across) if width > left else 0
        rows = -(-(height - top) // down) if height > top else 0
        if columns:  # each row begins with the number of its filter
            total += rows * (1 + (columns * bits + 7) // 8)
    return total if bits else 0


def jpeg_fault(data: bytes) -> str:
    """Return what is wrong with a JPEG file's segments, "" if nothing is.

    Args:
        data: the file from its first marker. A thumbnail inside a segment has an end
            of its own, so the end is looked for behind the start of the scan.
    """
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return "not a whole JPEG: no marker where one must be"
        marker = data[at + 1]
        if marker == 0xFF:  # fill bytes
            at += 1
            continue
        if marker == 0xDA:
            # In the scan 0xFF is followed by 0x00, so this can only be the end.
            whole = data.find(b"\xff\xd9", at) > 0
            return "" if whole else "not a whole JPEG: it has no end"
        standalone = marker == 0x01 or 0xD0 <= marker <= 0xD8
        at += 2 if standalone else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return "not a whole JPEG: it has no scan"


def coded_size(frame: bytes) -> tuple[int, int] | None:
    """Return (height, width) that a JPEG, JPEG-LS or JPEG 2000 stream says it has.

    Returns:
        None for a stream of another kind, or one that does not say.
    """
    at = frame.find(b"\xff\x4f\xff\x51")  # start of a JPEG 2000 code stream, and SIZ
    if at >= 0 and len(frame) >= at + 24:
        # SIZ gives the ends of the reference grid and the image's offset in it.
        width, height, left, top = struct.unpack_from(">IIII", frame, at + 8)
        return height - top, width - left
    at = 2
    while frame[:2] == b"\xff\xd8" and at + 9 <= len(frame) and frame[at] == 0xFF:
        marker, size = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        # C4, C8 and CC are no frame headers; F7 is that of JPEG-LS.
        if (
            0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
        ) or marker == 0xF7:
            height, width = struct.unpack_from(">HH", frame, at + 5)
            return height, width
        at += 1 if marker == 0xFF else 2 + size
    return None


def inflated_size(parts: list[bytes], most: int, bits: int) -> int:
    """Return how many bytes compressed data give, counting no further than ``most``.

    Args:
        parts: the compressed data, in order.
        most: where to stop.
        bits: window of zlib; negative for a bare deflate stream.

    Returns:
        The count, above ``most`` if there are more; memory stays below 2 MiB. Damaged
        data count as far as they go.
    """
    stream, total = zlib.decompressobj(bits), 0
    try:
        for part in parts:
            while part and not stream.eof and total <= most:
                total += len(stream.decompress(part, _AT_ONCE))
                part = stream.unconsumed_tail
        if total <= most:
            total += len(stream.flush())
    except zlib.error:
        pass
    return total
