"""apsw under another name, loaded when it is first used: importing the package must not cost what opening a file does.

Store modules use it in place of `import apsw`; to a type checker it is apsw.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    import apsw

    # From now on its names are this module's own, and found without coming here.
    globals().update({key: value for key, value in vars(apsw).items() if not key.startswith("__")})
    return getattr(apsw, name)
