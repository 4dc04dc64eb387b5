"""The side that decides: catalog files, commands in one transaction each, the maintenance tick."""
