"""Which names a package's source looks up in settings, for readers that can only be run whole, on a GPU."""

import ast
import importlib.util
import pathlib


def files(name):
    """The source files of a module or package; none if it is not there."""
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return []
    if spec is None:
        return []
    found = [pathlib.Path(spec.origin)] if spec.origin else []
    for place in spec.submodule_search_locations or []:
        found += pathlib.Path(place).rglob("*.py")
    return found


def looked_up(*names):
    """Every literal that is used as a key: d["key"], d.get("key", ...), get_from_extra_config("key", ...)."""
    keys = set()
    for file in {f for name in names for f in files(name)}:
        for node in ast.walk(ast.parse(file.read_text())):
            literal = None
            if isinstance(node, ast.Subscript):
                literal = node.slice
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                if node.func.attr == "get" or node.func.attr.startswith("get_"):
                    literal = node.args[0]
            if isinstance(literal, ast.Constant) and isinstance(literal.value, str):
                keys.add(literal.value)
    return keys
