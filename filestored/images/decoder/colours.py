"""Colours of thumbnails: simple modes, with transparency, and sRGB.

In: an image, or a strip of one, in any mode that a decoder yields. Out: L, RGB, CMYK or RGBA, which can be
resampled; `to_srgb` then applies the colour profile. Metadata are removed.
"""

from io import BytesIO

from PIL import Image, ImageCms, ImageFile, ImageMath

_SCALES = {"L;2": 85, "L;4": 17}
"""Factor from the samples of a grey PNG to those of 8 bits, by Pillow's name of their form."""

_UNASSOCIATED = {"La": "LA", "RGBa": "RGBA"}


def scale_transparency(image: ImageFile.ImageFile) -> None:
    """Scale the transparent colour of a PNG, as it is stored, to the samples that Pillow decodes it to."""
    found = image.info.get("transparency")
    form = image.tile[0].args if image.tile else None
    if isinstance(found, tuple) and form == "RGB;16B":
        image.info["transparency"] = tuple(sample >> 8 for sample in found)
    elif isinstance(found, int) and isinstance(form, str) and form in _SCALES:
        image.info["transparency"] = found * _SCALES[form]


def simple(image: Image.Image) -> Image.Image:
    """Return the image in a mode that can be resampled: L, RGB, CMYK or RGBA."""
    if image.mode.startswith("I"):
        return _simple_of_integers(image)
    if image.mode in _UNASSOCIATED:
        image = image.convert(_UNASSOCIATED[image.mode])
    if image.mode == "LAB":
        return _lab_to_rgb(image)
    if image.has_transparency_data:
        return image.convert("RGBA")
    if image.mode in ("L", "RGB", "CMYK"):
        return image
    return image.convert("L" if image.mode in ("1", "F") else "RGB")


def _simple_of_integers(image: Image.Image) -> Image.Image:
    """Return an image of 16 bits for each pixel as L, or as RGBA if one of its values is transparent."""
    values = image.convert("I")
    grey = values.point(lambda value: value / 256).convert("L")
    transparent = image.info.get("transparency")
    if not isinstance(transparent, int):
        return grey
    opaque = ImageMath.lambda_eval(
        lambda args: args["convert"]((args["values"] != transparent) * 255, "L"), values=values
    )
    return Image.merge("RGBA", (grey, grey, grey, opaque))


def _lab_to_rgb(image: Image.Image) -> Image.Image:
    source, target = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    assert converted is not None  # as it is when done in place
    return converted


def to_srgb(image: Image.Image) -> Image.Image:
    """Return the image in sRGB, without metadata."""
    profile = image.info.get("icc_profile")
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    converted = _convert_profile(profile, image, mode) if profile else None
    if converted is None:
        converted = image if image.mode in ("L", mode) else image.convert(mode)
    converted.info = {}
    return converted


def _convert_profile(profile: bytes, image: Image.Image, mode: str) -> Image.Image | None:
    """Convert from `profile` to sRGB; return None when it is invalid or does not fit the image."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        if image.mode == "RGBA" and source.profile.xcolor_space.strip() == "GRAY":
            grey = ImageCms.profileToProfile(image.convert("L"), source, target, outputMode="RGB")
            assert grey is not None
            grey.putalpha(image.getchannel("A"))
            return grey
        return ImageCms.profileToProfile(image, source, target, outputMode=mode)
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None
