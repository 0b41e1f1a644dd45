"""The functions of the public interface; `nixdock` loads each when it is first used.

They take paths as text or as `os.PathLike`, options as text or as members of their enum, and
return documented types. They print nothing: warnings go to the loggers below `nixdock`.
"""
