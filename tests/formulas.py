"""Every score once more, from its paper or textbook and not from the project: float64, plain and slow."""

import numpy as np
from scipy import ndimage
from scipy.special import entr, expit, logsumexp, softmax, xlogy

Maps = dict[str, np.ndarray]


def resize(planes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Planes (..., h, w) at another size, bilinear, as pixels whose centres lie at half numbers."""
    for axis, target in ((-2, size[0]), (-1, size[1])):
        source = planes.shape[axis]
        at = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
        before = np.floor(at).astype(int)
        after, share = np.minimum(before + 1, source - 1), at - before
        share = share[:, None] if axis == -2 else share
        planes = planes.take(before, axis) * (1 - share) + planes.take(after, axis) * share
    return planes


def all_but_largest(p: np.ndarray) -> np.ndarray:
    """1 - max p of shares (K, ...), which does not cancel."""
    return np.sort(p, axis=0)[:-1].sum(axis=0)


def pixel_maps(z: np.ndarray, void: np.ndarray, T: float, normal: np.ndarray) -> Maps:
    """Scores by method, as one types it: of logits (K, H, W) and of `void` (H, W); `normal` pixels are fitted on."""
    u = np.sort(z / T, axis=0)[::-1]
    p, left = softmax(z / T, axis=0), 1 - np.exp(u - logsumexp(u, axis=0))
    ordered = np.sort(p, axis=0)[::-1]
    left[0] = all_but_largest(p)
    terms = (ordered * left) ** 0.1
    of_class, K = z.argmax(axis=0), len(z)
    groups = [normal & (of_class == k) for k in range(K)]
    largest = z.max(axis=0)
    fitted = [largest[each] if each.sum() > 1 else largest[normal] for each in groups]
    mean, deviation = np.array([(each.mean(), each.std(ddof=1)) for each in fitted]).T
    sml = -(largest - mean[of_class]) / deviation[of_class]
    means = [p[:, each].mean(axis=1)[:, None, None] for each in groups if each.any()]
    return {
        "msp": left[0],
        "maxlogit": -largest,
        "entropy": entr(p).sum(axis=0),
        "energy": -T * logsumexp(z / T, axis=0),
        "void": softmax(np.stack([*z, void]) / T, axis=0)[-1],
        "margin": ordered[1] - ordered[0],
        "gini": (ordered * left).sum(axis=0),
        "renyi": -np.log(np.square(p).sum(axis=0)),
        "renyi:alpha=0.5": 2 * np.log(np.sqrt(p).sum(axis=0)),
        "gen": terms.sum(axis=0),
        "gen:top=5": terms[:5].sum(axis=0),
        "gen:gamma=0.5": np.sqrt(ordered * left).sum(axis=0),
        "sml": sml,
        "sml+": wide_gaussian(without_boundaries(sml, of_class)),
        "kl": np.min([(xlogy(p, p) - xlogy(p, each)).sum(axis=0) for each in means], axis=0),
    }


def without_boundaries(scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Boundary suppression of Jung et al., ICCV 2021."""
    cross, square = ndimage.generate_binary_structure(2, 1), np.ones((3, 3))
    edges = ndimage.grey_dilation(classes, footprint=cross) != ndimage.grey_erosion(classes, size=(3, 3))
    for radius in (3, 2, 1, 0):
        wide = ndimage.binary_dilation(edges, cross, iterations=radius) if radius else edges
        count = np.rint(ndimage.convolve((~wide).astype(float), square, mode="nearest"))
        total = ndimage.convolve(np.where(wide, 0, scores), square, mode="nearest")
        scores = np.where(wide & (count > 0), total / np.maximum(count, 1), scores)
    return scores


def wide_gaussian(scores: np.ndarray) -> np.ndarray:
    """Seven by seven taps of a Gaussian of sigma 1, six pixels apart."""
    taps = np.zeros(37)
    taps[::6] = np.exp(-np.square(np.arange(-3, 4)) / 2)
    taps /= taps.sum()
    return ndimage.convolve1d(ndimage.convolve1d(scores, taps, 0, mode="nearest"), taps, 1, mode="nearest")


def mask_maps(
    masks: np.ndarray,
    classes: np.ndarray,
    size: tuple[int, int],
    T: float,
    T_S: float,
    T_m: float,
    outlier: int | None = None,
) -> Maps:
    """Scores by method, of mask logits (Q, h, w) and class logits (Q, K + 1), one of which may be of outliers."""
    M, shares = expit(masks / T_m), softmax(classes / T, axis=1)
    known = [k for k in range(classes.shape[1] - 1) if k != outlier]
    P, best = shares[:, known], shares[:, known].max(axis=1)
    # What is no known class: "no object", and outliers where they were trained.
    none = np.delete(shares, known, axis=1).sum(axis=1)
    unlike = none + all_but_largest(P.T)
    mixed = lambda weights: np.einsum("q...,qhw->...hw", weights, M)  # noqa: E731
    S, Z = resize(mixed(P), size), resize(mixed(classes[:, known]), size)
    s, q = S / S.sum(axis=0), softmax(S / T_S, axis=0)
    claims, claimed = M * best[:, None, None], M.sum(axis=0)
    trusted = claims[(best > 0.7) & (best > none)]
    ood = none if outlier is None else shares[:, outlier]
    at_masks = {
        "rba-normalized": mixed(unlike) / claimed,
        "eam": 1 - mixed(best),
        "void": mixed(none),
        "rba-plus1": mixed(unlike) / (1 + claimed),
        "rba-hard": 1 - claims.max(axis=0),
        "no-object-max": (M * none[:, None, None]).max(axis=0),
        "rejection": (1 - trusted).min(axis=0, initial=1),
        "uno": -mixed(best - ood),
    }
    msp = all_but_largest(s)
    segments = (resize(M, size) * best[:, None, None]).argmax(axis=0)
    of_segments = np.zeros(size)
    for query in np.unique(segments):
        of_segments[segments == query] = msp[segments == query].mean()
    return {name: resize(each, size) for name, each in at_masks.items()} | {
        "msp": msp,
        "entropy": entr(s).sum(axis=0),
        "maxlogit": -Z.max(axis=0),
        "rba": -np.tanh(S).sum(axis=0),
        "mask2anomaly": 1 - S.max(axis=0),
        "neg-sum": -S.sum(axis=0),
        "mask-energy": -logsumexp(S, axis=0),
        "softmax-msp": all_but_largest(q),
        "softmax-entropy": entr(q).sum(axis=0),
        "softmax-energy": -T_S * logsumexp(S / T_S, axis=0),
        "raw-msp": all_but_largest(softmax(Z, axis=0)),
        "rba-product": (1 - S.clip(0, 1)).prod(axis=0),
        "rba-tanh-log": -np.tanh(np.log(S)).sum(axis=0),
        "query-smoothed": (msp + of_segments) / 2,
    }
