"""One small module a kind of asset; the manifest's field ``recipe`` names it.

Each has ``build(asset, source, target)``: ``source`` is a folder with the verified
inner files, ``target`` the file or folder to make; the caller renames it to its place.
"""
