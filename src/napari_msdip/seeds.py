"""The seed of each part of what is denoised in parts."""

__all__ = ["plane_seed"]

# An odd multiplier makes index -> seed one-to-one modulo 2**31, so that no two
# planes of a stack, or tiles of a plane, ever share random numbers; this one spreads
# neighbours widely. (A tile may have those of another plane's tile.)
_STRIDE = 0x1E3779B1


def plane_seed(seed: int, index: int) -> int:
    """Return the seed of one plane of a stack, or of one tile of an image.

    A pure function of its arguments: a plane gets the same random numbers
    alone, in a stack, in a resumed run and on a cluster. Plane 0 has the base
    seed itself, so that a single image is treated as :func:`napari_msdip.denoise`
    treats it.

    Parameters
    ----------
    seed : int
        Base seed, 0 to 2**31 - 1.
    index : int
        Flat index of the plane (C order) in the whole stack, or number of the tile.

    Returns
    -------
    int
        A seed, 0 to 2**31 - 1.
    """
    return (seed + index * _STRIDE) % 2**31
