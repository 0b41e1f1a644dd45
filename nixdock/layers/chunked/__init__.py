"""Layers that are fetched in part: eStargz and zstd:chunked, made from the stream of a tar."""
