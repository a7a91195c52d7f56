"""What can go wrong with an asset. Every message names the asset and the remedy."""

from __future__ import annotations


class AssetError(RuntimeError):
    """An asset could not be fetched, checked or installed."""


class MissingAsset(AssetError):
    """An asset that a notebook needs is not installed, or is damaged."""


class ManifestError(AssetError):
    """``data/assets.toml`` says something that cannot be right."""


class ArchiveError(AssetError):
    """An archive, or a file inside it, is not what the manifest promises."""


class DownloadError(AssetError):
    """pip could not deliver an archive."""


class NoNetwork(DownloadError):
    """pip could not reach the package index at all."""
