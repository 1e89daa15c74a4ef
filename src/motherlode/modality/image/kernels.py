"""Compiled loops over pictures of mixed sizes: one call measures a batch.

Shape legend: N pictures, H height, W width, C channels (1 or 3), T bytes of a thumbnail, M measures.
Pixels of all pictures lie one after another in one flat buffer, row by row, channels last; `offsets_N` says where.
"""

# In compiled code NumPy's scalars and Python's numbers are one thing; mypy tells them apart.
# mypy: disable-error-code="assignment, arg-type, call-overload, no-any-return, operator, return-value"

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motherlode.modality._compiled import compiled, fast

LUMA_SIDE = 32
CHROMA_SIDE = 8
NUM_LUMA = LUMA_SIDE * LUMA_SIDE
NUM_THUMB_BYTES = NUM_LUMA + 2 * CHROMA_SIDE * CHROMA_SIDE
BRIGHTNESS, CONTRAST, SHARPNESS, COLOURFULNESS, ENTROPY, DARKEST, BRIGHTEST = range(7)
NUM_MEASURES = 7
ROUNDING_ENERGY = 20.0 / 12.0
Places = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]


@compiled
def unfilter(rows: NDArray[np.uint8], height: int, width: int, channels: int, pixels: NDArray[np.uint8]) -> bool:
    """Undo PNG's row filters (PNG specification, section 9); False where a filter byte is unknown.

    Args:
        rows: height rows of one filter byte and width * channels bytes.
        pixels: where the height * width * channels bytes go.
    """
    num = width * channels
    for y in range(height):
        kind = rows[y * (num + 1)]
        if kind > 4:
            return False
        source, target = rows[y * (num + 1) + 1 : (y + 1) * (num + 1)], pixels[y * num : (y + 1) * num]
        target[:] = source
        if kind == 1:
            for x in range(channels, num):
                target[x] += target[x - channels]
        elif y and kind == 2:
            target += pixels[(y - 1) * num : y * num]
        elif kind > 2:
            _unfilter_by_two(kind, pixels[max(y - 1, 0) * num : (y + 1) * num], 0 if y == 0 else num, channels, target)
    return True


@compiled
def _unfilter_by_two(
    kind: int, area: NDArray[np.uint8], num_above: int, channels: int, target: NDArray[np.uint8]
) -> None:
    """Filters 3 (average) and 4 (Paeth), which look left and above; the row above, if any, leads `area`."""
    for x in range(target.shape[0]):
        left = np.int32(target[x - channels]) if x >= channels else np.int32(0)
        above = np.int32(area[x]) if num_above else np.int32(0)
        corner = np.int32(area[x - channels]) if num_above and x >= channels else np.int32(0)
        if kind == 3:
            guess = (left + above) >> 1
        else:
            off_left, off_above = abs(above - corner), abs(left - corner)
            off_corner = abs(left + above - 2 * corner)
            if off_left <= off_above and off_left <= off_corner:
                guess = left
            else:
                guess = above if off_above <= off_corner else corner
        target[x] += np.uint8(guess)


@compiled
def unfilter_all(
    rows: NDArray[np.uint8],
    row_offsets_N: NDArray[np.int64],
    shapes_N3: NDArray[np.int64],
    pixels: NDArray[np.uint8],
    offsets_N: NDArray[np.int64],
    is_good_N: NDArray[np.bool_],
) -> None:
    """`unfilter` for a batch; `is_good_N` tells which files had known filters only."""
    for i in range(row_offsets_N.shape[0]):
        height, width, channels = shapes_N3[i]
        is_good_N[i] = unfilter(rows[row_offsets_N[i] :], height, width, channels, pixels[offsets_N[i] :])


@fast
def measure(
    pixels: NDArray[np.uint8],
    offsets_N: NDArray[np.int64],
    shapes_N3: NDArray[np.int64],
    measures_NM: NDArray[np.float32],
    thumbs_NT: NDArray[np.uint8],
) -> None:
    """Measures and thumbnails of a batch of pictures.

    Args:
        pixels: flat uint8.
        offsets_N: start of each picture in `pixels`.
        shapes_N3: height, width, channels of each.
        measures_NM: filled, columns as named by the constants of this module.
        thumbs_NT: filled: luma 32x32, then blue and red difference 8x8 each.
    """
    num_most = 0
    for i in range(offsets_N.shape[0]):
        num_most = max(num_most, shapes_N3[i, 0] * shapes_N3[i, 1])
    luma = np.empty(num_most, np.float32)
    last_y, last_x = -1, -1
    for i in range(offsets_N.shape[0]):
        height, width, channels = shapes_N3[i]
        if height != last_y or width != last_x:
            places_y, places_x = _triangle(height), _triangle(width)
            narrow = np.empty((height, LUMA_SIDE), np.float32)
            last_y, last_x = height, width
        area = pixels[offsets_N[i] : offsets_N[i] + height * width * channels]
        _statistics(area, height * width, channels, luma, measures_NM[i])
        measures_NM[i, SHARPNESS] = _sharpness(luma, height, width)
        _shrink_luma(luma, places_y, places_x, narrow, thumbs_NT[i])
        _shrink_chroma(area, height, width, channels, thumbs_NT[i])


@fast
def _statistics(
    area: NDArray[np.uint8], num: int, channels: int, luma: NDArray[np.float32], measures_M: NDArray[np.float32]
) -> None:
    counts = np.zeros(256, np.int64)
    red_green, red_green2, yellow_blue, yellow_blue2 = 0.0, 0.0, 0.0, 0.0
    if channels == 1:
        for j in range(num):
            luma[j] = area[j]
            counts[area[j]] += 1
    else:
        for j in range(num):
            red, green, blue = np.float32(area[3 * j]), np.float32(area[3 * j + 1]), np.float32(area[3 * j + 2])
            light = np.float32(0.299) * red + np.float32(0.587) * green + np.float32(0.114) * blue
            luma[j] = light
            counts[np.int64(light + np.float32(0.5))] += 1
            first, second = red - green, np.float32(0.5) * (red + green) - blue
            red_green += first
            red_green2 += first * first
            yellow_blue += second
            yellow_blue2 += second * second
    total, total2, entropy = 0.0, 0.0, 0.0
    for value in range(256):
        if counts[value]:
            share = counts[value] / num
            total += share * value
            total2 += share * value * value
            entropy -= share * np.log2(share)
    measures_M[BRIGHTNESS] = total
    measures_M[CONTRAST] = np.sqrt(max(total2 - total * total, 0.0))
    measures_M[ENTROPY] = entropy
    measures_M[DARKEST] = _quantile(counts, num, 0.01)
    measures_M[BRIGHTEST] = _quantile(counts, num, 0.99)
    # Hasler and Suesstrunk 2003, "Measuring colourfulness in natural images", equation for M^(3).
    first, second = red_green / num, yellow_blue / num
    spread = max(red_green2 / num - first * first, 0.0) + max(yellow_blue2 / num - second * second, 0.0)
    measures_M[COLOURFULNESS] = np.sqrt(spread) + 0.3 * np.sqrt(first * first + second * second)


@compiled
def _quantile(counts: NDArray[np.int64], num: int, share: float) -> int:
    """The least value below or at which `share` of the pixels lie."""
    seen = 0
    for value in range(256):
        seen += counts[value]
        if seen >= share * num:
            return value
    return 255


@fast
def _sharpness(luma: NDArray[np.float32], height: int, width: int) -> float:
    """Energy of the 4-neighbour Laplacian over the variance of luma: 20 for white noise, near 0 for a blurred picture.

    Dividing by the variance makes it blind to contrast; pictures come at one working scale, so it is blind to size. The
    energy that rounding to whole grey levels alone produces is taken off: else faint blurred pictures look sharp.
    """
    energy, total, total2 = 0.0, 0.0, 0.0
    for y in range(1, height - 1):
        row = y * width
        for x in range(row + 1, row + width - 1):
            value = luma[x]
            bend = luma[x - 1] + luma[x + 1] + luma[x - width] + luma[x + width] - np.float32(4.0) * value
            energy += bend * bend
            total += value
            total2 += value * value
    num = max((height - 2) * (width - 2), 1)
    variance = total2 / num - (total / num) ** 2
    return max(energy / num - ROUNDING_ENERGY, 0.0) / max(variance, 1.0)


@fast
def _shrink_luma(
    luma: NDArray[np.float32],
    places_y: Places,
    places_x: Places,
    narrow: NDArray[np.float32],
    thumb_T: NDArray[np.uint8],
) -> None:
    """Luma to 32x32 by a triangle filter as wide as the shrinking asks, separably; enlarges bilinearly."""
    starts_y, counts_y, weights_y = places_y
    starts_x, counts_x, weights_x = places_x
    height, width = narrow.shape[0], starts_x[LUMA_SIDE - 1] + counts_x[LUMA_SIDE - 1]
    for y in range(height):
        for x in range(LUMA_SIDE):
            total = np.float32(0.0)
            place = y * width + starts_x[x]
            for k in range(counts_x[x]):
                total += weights_x[x, k] * luma[place + k]
            narrow[y, x] = total
    for y in range(LUMA_SIDE):
        for x in range(LUMA_SIDE):
            total = np.float32(0.5)
            for k in range(counts_y[y]):
                total += weights_y[y, k] * narrow[starts_y[y] + k, x]
            thumb_T[y * LUMA_SIDE + x] = np.uint8(min(max(total, np.float32(0.0)), np.float32(255.0)))


@fast
def _triangle(length: int) -> Places:
    """For each of 32 outputs: first input, number of inputs, and their weights (sum 1)."""
    scale = length / LUMA_SIDE
    reach = max(scale, 1.0)
    starts, counts = np.empty(LUMA_SIDE, np.int64), np.empty(LUMA_SIDE, np.int64)
    weights = np.zeros((LUMA_SIDE, 2 * int(np.ceil(reach)) + 1), np.float32)
    for x in range(LUMA_SIDE):
        centre = (x + 0.5) * scale - 0.5
        start, stop = max(0, int(np.ceil(centre - reach))), min(length - 1, int(np.floor(centre + reach)))
        total = 0.0
        for k in range(stop - start + 1):
            weight = max(0.0, 1.0 - abs(start + k - centre) / reach)
            weights[x, k] = weight
            total += weight
        starts[x], counts[x] = start, stop - start + 1
        for k in range(stop - start + 1):
            weights[x, k] /= total
    return starts, counts, weights


@fast
def _shrink_chroma(area: NDArray[np.uint8], height: int, width: int, channels: int, thumb_T: NDArray[np.uint8]) -> None:
    """Blue and red difference (JFIF's Cb and Cr) averaged over 8x8 boxes; 128 where the picture is grey."""
    num = CHROMA_SIDE * CHROMA_SIDE
    if channels == 1:
        thumb_T[NUM_LUMA:] = 128
        return
    sums = np.zeros((num, 3), np.float32)
    counts = np.zeros(num, np.float32)
    for y in range(height):
        row = y * CHROMA_SIDE // height * CHROMA_SIDE
        for x in range(width):
            box, place = row + x * CHROMA_SIDE // width, 3 * (y * width + x)
            sums[box, 0] += area[place]
            sums[box, 1] += area[place + 1]
            sums[box, 2] += area[place + 2]
            counts[box] += 1
    for box in range(num):
        share = np.float32(1.0) / max(counts[box], np.float32(1.0))
        red, green, blue = sums[box, 0] * share, sums[box, 1] * share, sums[box, 2] * share
        blueness = -0.168736 * red - 0.331264 * green + 0.5 * blue + 128.5
        redness = 0.5 * red - 0.418688 * green - 0.081312 * blue + 128.5
        thumb_T[NUM_LUMA + box] = np.uint8(min(max(blueness, 0.0), 255.0))
        thumb_T[NUM_LUMA + num + box] = np.uint8(min(max(redness, 0.0), 255.0))
