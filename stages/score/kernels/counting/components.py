"""8-connected components by runs: stretches of a row that lie inside, joined where those of two rows touch.

A picture has far fewer runs than pixels: joining and measuring them costs little beside looking at each pixel once.
"""

import numpy as np

from logitpipe.stages.score.kernels.compiled import Array, entry, kernel

VOID, NORMAL = -1, 0
"""What a pixel is that belongs to no component of the ground truth; components are numbered from 1."""


@entry
def components_above(ranks: Array, limit: np.float32, truth: Array, least: int) -> tuple[Array, Array]:
    """Measure the components of the pixels whose rank is above a limit and whose truth is not VOID.

    Parameters
    ----------
    ranks : float32 (H, W)
    limit : compared strictly
    truth : int32 (H, W), VOID, NORMAL or the number of a component of the ground truth
    least : smaller components are left out

    Returns
    -------
    sizes : int64 (n,), pixels of each component
    pieces : int64 (m, 3), component from 0, truth and pixels of stretches inside it; those of several that agree in
        the first two are to be added up
    """
    # A row of W pixels has at most (W + 1) // 2 runs, every other pixel: there is always room.
    runs = np.empty((ranks.size // 2 + ranks.shape[0], 3), np.int32)
    count = 0
    for y in range(ranks.shape[0]):
        start = -1
        for x in range(ranks.shape[1]):
            inside = ranks[y, x] > limit and truth[y, x] != VOID
            if inside and start < 0:
                start = x
            elif not inside and start >= 0:
                runs[count, 0], runs[count, 1], runs[count, 2] = y, start, x
                count, start = count + 1, -1
        if start >= 0:
            runs[count, 0], runs[count, 1], runs[count, 2] = y, start, ranks.shape[1]
            count += 1
    sizes, of_run = _sizes(runs[:count], _joined(runs[:count]), least)
    return sizes, _pieces(runs[:count], of_run, truth)


@entry
def number_components(labels: Array, anomaly: int, void: int) -> tuple[Array, Array]:
    """Number the components of the ground truth.

    Parameters
    ----------
    labels : uint8 (H, W)
    anomaly, void : which labels are inside, and which are not looked at; all others are normal

    Returns
    -------
    truth : int32 (H, W), as `components_above` takes it
    sizes : int64 (n,), pixels of each component
    """
    truth = np.empty(labels.shape, np.int32)
    # Room for every other pixel of each row, as in `components_above`.
    runs = np.empty((labels.size // 2 + labels.shape[0], 3), np.int32)
    count = 0
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            truth[y, x] = VOID if labels[y, x] == void else NORMAL
            if labels[y, x] == anomaly:
                if x == 0 or labels[y, x - 1] != anomaly:
                    runs[count, 0], runs[count, 1] = y, x
                    count += 1
                runs[count - 1, 2] = x + 1
    sizes, of_run = _sizes(runs[:count], _joined(runs[:count]), 0)
    for i in range(count):
        truth[runs[i, 0], runs[i, 1] : runs[i, 2]] = of_run[i] + 1
    return truth, sizes


@kernel
def _joined(runs: Array) -> Array:
    """Return int64 (n,), for each run an earlier one of its component, or itself where it is the first.

    Parameters
    ----------
    runs : int32 (n, 3), row, first column and the column behind the last, in reading order
    """
    earlier = np.arange(runs.shape[0])
    above = 0  # the first run that may touch the present one from the row above
    for i in range(runs.shape[0]):
        while runs[above, 0] < runs[i, 0] - 1 or (runs[above, 0] < runs[i, 0] and runs[above, 2] < runs[i, 1]):
            above += 1
        j = above
        # <= and not <, as ends are exclusive: runs that touch at a corner alone are joined too.
        while runs[j, 0] == runs[i, 0] - 1 and runs[j, 1] <= runs[i, 2]:
            a, b = _first(earlier, i), _first(earlier, j)
            # Always towards the earlier run: `_sizes` goes through the runs in order and relies on it.
            earlier[max(a, b)] = min(a, b)
            j += 1
    return earlier


@kernel
def _first(earlier: Array, run: int) -> int:
    """Return the first run of a component, and shorten the way to it."""
    while earlier[run] != run:
        # Shortened at each step, so that long chains are walked only once.
        earlier[run] = earlier[earlier[run]]
        run = earlier[run]
    return run


@kernel
def _sizes(runs: Array, earlier: Array, least: int) -> tuple[Array, Array]:
    """Return the pixels of each component of at least a size, and int64 (n,), each run's component or -1."""
    pixels = np.zeros(runs.shape[0], np.int64)
    for i in range(runs.shape[0]):
        earlier[i] = earlier[earlier[i]]  # which is the first run: runs before this one know theirs already
        pixels[earlier[i]] += runs[i, 2] - runs[i, 1]
    number, count = np.full(runs.shape[0], -1), 0
    for i in range(runs.shape[0]):
        if earlier[i] == i and pixels[i] >= least:
            number[i] = count
            # count <= i, so that no size is written over before it is read.
            pixels[count] = pixels[i]
            count += 1
        else:
            number[i] = number[earlier[i]]
    return pixels[:count].copy(), number


@kernel
def _pieces(runs: Array, of_run: Array, truth: Array) -> Array:
    """Return int64 (m, 3): component, truth and length of the stretches of one truth in each run."""
    pieces = np.empty((2 * runs.shape[0] + 16, 3), np.int64)
    count = 0
    for i in range(runs.shape[0]):
        if of_run[i] < 0:
            continue
        y, start = runs[i, 0], runs[i, 1]
        # One column beyond the run, so that its last stretch is closed too.
        for x in range(runs[i, 1] + 1, runs[i, 2] + 1):
            if x == runs[i, 2] or truth[y, x] != truth[y, start]:
                if count == pieces.shape[0]:
                    pieces = np.concatenate((pieces, np.empty_like(pieces)))
                pieces[count, 0], pieces[count, 1], pieces[count, 2] = of_run[i], truth[y, start], x - start
                count, start = count + 1, x
    return pieces[:count].copy()
