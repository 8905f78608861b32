"""Photographs from files, made into x as the images were on which a network was trained.

Weights are worth little without the mean and the standard deviation that went with them: a network fed with other
numbers does not fail, it merely answers worse. ``PREPROCESSING`` knows what the usual sources of weights did.
"""

from dataclasses import dataclass

import numpy as np

from minires.checks import is_one_of, numbers_of_shape, path_of, require, shown, sizes
from minires.data.sources import load_cifar10


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """x = (image - shift) * scale, where image is the centre of a photograph, its pixels 0 to 255.

    Parameters
    ----------
    resize : int
        Pixels of the shorter side, to which the photograph is scaled first (bilinear, antialiased).
    crop : int
        Sides H and W of the square then cut from its middle.
    shift : float array (C, H, W), or (C, 1, 1)
    scale : float array (C,)
        Of three colours, or of one: then the photograph becomes grey.
    """

    resize: int
    crop: int
    shift: np.ndarray
    scale: np.ndarray

    def __call__(self, path):
        """Return x, float32 (1, C, H, W), of the image file ``path``."""
        image = read_image(path, self.resize, self.crop, channels=len(self.scale))
        return (image[None] - self.shift) * self.scale[:, None, None]


def by_mean_and_std(mean, std, resize=32, crop=32):
    """Return the Preprocessing that most projects write as x = (image / 255 - mean) / std, for each colour.

    Examples
    --------
    >>> by_mean_and_std(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)).shift.ravel()
    array([127.5, 127.5, 127.5], dtype=float32)
    """
    who, of = "by_mean_and_std", "red, green, blue"
    mean, std = (numbers_of_shape(who, *given, (3,), of).astype(np.float32) for given in [("mean", mean), ("std", std)])
    fits = np.isfinite([mean, std]).all() and (std > 0).all()
    require(fits, who, "a finite mean and a std above 0 for each colour", f"{mean} and {std}")
    resize, crop = sizes(who, resize=resize, crop=crop)
    return Preprocessing(resize, crop, 255 * mean[:, None, None], 1 / (255 * std))


IMAGENET, CIFAR10_MEAN = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), (0.4914, 0.4822, 0.4465)

PREPROCESSING = {  # the arguments of ``by_mean_and_std``
    "imagenet": (*IMAGENET, 256, 224),  # torchvision's models
    "akamaster": IMAGENET,  # akamaster/pytorch_resnet_cifar10: ImageNet's colours, on CIFAR-10
    # chenyaofo/pytorch-cifar-models and many others: the std of an image, averaged over the images
    "chenyaofo": (CIFAR10_MEAN, (0.2023, 0.1994, 0.2010)),
    # the mean and std of all pixels, as wide residual networks and normalise="channel"
    "cifar10": (CIFAR10_MEAN, (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "mean-image": None,  # the mean image of CIFAR-10, as He et al. and normalise="pixel_mean"
}


def preprocessing(name):
    """Return the Preprocessing of this name; "mean-image" needs CIFAR-10 on this disk."""
    require(is_one_of(name, PREPROCESSING), "preprocessing", f"one of {', '.join(PREPROCESSING)}", shown(name))
    if PREPROCESSING[name] is None:
        train_set, _ = load_cifar10()
        return Preprocessing(32, 32, train_set.pixel_mean, np.full(3, 1 / 255, np.float32))
    return by_mean_and_std(*PREPROCESSING[name])


def read_image(path, resize, crop, channels=3):
    """Return the middle of an image file, uint8 (C, crop, crop), the shorter side having been scaled to ``resize``.

    Any kind of file that Pillow reads will do; grey, transparent and rotated pictures become upright RGB, or grey for
    ``channels=1``. What is transparent shows white paper.
    """
    from PIL import Image, ImageOps  # Pillow comes with Matplotlib; importing minires shall not wait for it

    path = path_of("read_image path", path)
    if channels not in (1, 3):
        raise ValueError(f"{path}: a picture has 1 or 3 channels, and this net takes {channels}.")
    if not path.is_file():
        raise FileNotFoundError(f"no image {path}. {'It is a folder' if path.is_dir() else 'Is the path right'}?")
    try:
        with Image.open(path) as image:
            if image.format == "EPS":  # a program, which Pillow would have Ghostscript run
                raise ValueError("PostScript")
            deep = image.format in ("PNG", "PPM")  # in which "I" stands for 16 bits
            image = ImageOps.exif_transpose(image)
            if image.mode == "F" or image.mode.startswith("I"):
                image = Image.fromarray(_as_bytes(np.asarray(image), deep))
            elif {"A", "a"} & set(image.getbands()) or "transparency" in image.info:
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
            image = image.convert("RGB" if channels == 3 else "L")
    except Exception as error:  # Pillow raises a dozen kinds for a damaged file
        why = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path}: not an image that can be read ({why}). PNG and JPEG can.") from None
    shorter = min(image.size)
    image = _middle(image, [min(side, 20 * shorter) for side in image.size])  # a line of 1 x 60000 would become huge
    # As torchvision: the longer side is cut down to whole pixels, the crop begins at the nearest pixel.
    image = image.resize([resize * side // shorter for side in image.size], Image.Resampling.BILINEAR)
    image = np.asarray(_middle(image, (crop, crop)))
    return image.transpose(2, 0, 1) if channels == 3 else image[None]


def _middle(image, size):
    left, top = (round((side - part) / 2) for side, part in zip(image.size, size))
    return image.crop((left, top, left + size[0], top + size[1]))


def _as_bytes(pixels, deep):
    """Grey values of 0 to 1, to 255 or to 65535 as uint8. Which of them, their kind and the largest of them tell."""
    least, most = pixels.min(), pixels.max()
    if pixels.dtype.kind == "f" and most <= 1.001:
        white = 1
    else:
        white = 255 if most <= 255 and pixels.dtype.itemsize == 4 and not deep else 65535
    if not -0.001 * white <= least <= most <= 1.001 * white:
        raise ValueError(f"its pixels go from {least:g} to {most:g}; expected 0 to 1, 255 or 65535")
    return np.clip(pixels * (255 / white) + 0.5, 0, 255).astype(np.uint8)
