"""File formats that need a package of their own; the only room that imports one."""
