"""Image formats that are decoded only where an optional module is installed.

Such a module may be missing, which the worker finds out when its pool is made (`missing_formats`), or broken,
which shows in the decoder process alone (`plugins.FORMATS`). Either refuses the image with `refusal`.
"""

from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.util import find_spec


@dataclass(frozen=True, slots=True)
class OptionalFormat:
    """A format: its name for people, its name in Pillow, the module that decodes it, and a remedy."""

    name: str
    pillow_name: str
    module: str
    remedy: str

    def refusal(self) -> str:
        """Return the text of a refusal."""
        return f"{self.name} images are not decoded by this server{self.remedy}."


OPTIONAL_FORMATS = {
    "image/heic": OptionalFormat(
        "HEIC", "HEIF", "pillow_heif", "; it needs the extra heic: pip install '.[heic]'"
    ),
    "image/avif": OptionalFormat("AVIF", "AVIF", "PIL._avif", ", whose Pillow was built without it"),
    "image/webp": OptionalFormat("WebP", "WEBP", "PIL._webp", ", whose Pillow was built without it"),
}
"""Optional formats by media type."""


def missing_formats() -> dict[str, str]:
    """Return the texts of refusal of formats without a module, by media type. Blocking."""
    return {
        media_type: each.refusal()
        for media_type, each in OPTIONAL_FORMATS.items()
        if not is_installed(each.module)
    }


def is_installed(module: str) -> bool:
    """Return whether a module is there; imports nothing, and no package that it is part of. Blocking."""
    package = find_spec(module.partition(".")[0])
    if package is None or "." not in module:
        return package is not None
    return PathFinder.find_spec(module, package.submodule_search_locations) is not None
