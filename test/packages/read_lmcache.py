"""What the installed LMCache makes of configuration files, by its own loader.

    read_lmcache.py REPORT FILE...    writes {"version", "keys", "connector_keys", "files": {FILE: {...}}} to REPORT

"keys" are the names that the loader knows, "connector_keys" those that LMCache's side of vLLM's connector looks up. For each file: "values" is what arrived, under the names
of the attributes; "warnings" what LMCache said; "used" what its transfer layer (NIXL or a Mooncake
store) takes from the settings, when they ask for one; "error" what was raised instead.
"""

import dataclasses
import enum
import importlib
import importlib.metadata
import json
import logging
import math
import sys
import types

from source_keys import looked_up

WARNINGS = []


def listen():
    """Note every warning, whatever handlers LMCache gives its loggers."""
    make = logging.getLogRecordFactory()

    def record(*args, **kwargs):
        r = make(*args, **kwargs)
        if r.levelno >= logging.WARNING:
            WARNINGS.append(r.getMessage())
        return r

    logging.setLogRecordFactory(record)


def without_kernels():
    """Stand in for LMCache's CUDA kernels where they do not load: modules that read settings import them, too."""
    try:
        importlib.import_module("lmcache.c_ops")
    except ImportError:
        sys.modules["lmcache.c_ops"] = types.ModuleType("lmcache.c_ops")


def plain(value):
    """The value in JSON, whatever it was; an object as its attributes."""
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "__dict__"):
        return plain(vars(value))
    return str(value)


def first_that_exists(*names):
    for module, attribute in names:
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ModuleNotFoundError, AttributeError) as e:
            # A module of LMCache that is not there is an older or newer one; anything else is a fault of this run.
            if isinstance(e, ModuleNotFoundError) and not (e.name or "").startswith("lmcache"):
                raise
    raise LookupError(f"none of {names} in this LMCache")


def used(config):
    """The settings as the layer that moves KV takes them, for the first worker."""
    out = {}
    worker = types.SimpleNamespace(worker_id=0)
    backend = "lmcache.v1.storage_backend."
    if getattr(config, "enable_pd", False):
        reader = first_that_exists(
            (backend + "pd_backend", "PDConfig"),
            (backend + "connector.nixl_utils", "NixlConfigXpYd"),
        )
        out["pd"] = plain(reader.from_cache_engine_config(config, worker, 0))
    elif getattr(config, "enable_nixl", False) and getattr(config, "enable_xpyd", False):
        reader = first_that_exists((backend + "connector.nixl_utils", "NixlConfigXpYd"))
        out["xpyd"] = plain(reader.from_cache_engine_config(config, worker))
    elif getattr(config, "enable_nixl", False):
        reader = first_that_exists(
            (backend + "connector.nixl_utils", "NixlConfig"), (backend + "connector.nixl_connector", "NixlConfig")
        )
        out["nixl"] = plain(reader.from_cache_engine_config(config, worker))
    if (config.remote_url or "").startswith("mooncakestore://"):
        reader = first_that_exists((backend + "connector.mooncakestore_connector", "MooncakeStoreConfig"))
        out["store"] = plain(reader.load_from_lmcache_config(config))
    return out


def read(loader, path):
    WARNINGS.clear()
    found = {"values": {}, "warnings": [], "used": {}, "error": ""}
    try:
        config = loader.from_file(path)
        found["warnings"] = list(WARNINGS)
        found["values"] = plain(config)
        found["used"] = used(config)
    except Exception as e:  # the report names it; the caller decides
        found["error"] = f"{type(e).__name__}: {e}"
    return found


def known_keys(module):
    definitions = getattr(module, "_CONFIG_DEFINITIONS", None)
    if definitions is None:  # before 0.3.4 a function that looks up one name after the other
        return sorted(looked_up(module.__name__))
    return sorted(set(definitions) | set(getattr(module, "_DEPRECATED_CONFIGS", {})))


def main():
    listen()
    without_kernels()
    module = importlib.import_module("lmcache.v1.config")
    report = {
        "version": importlib.metadata.version("lmcache"),
        "keys": known_keys(module),
        "connector_keys": sorted(looked_up("lmcache.integration.vllm", "lmcache.v1.lookup_client")),
        "files": {path: read(module.LMCacheEngineConfig, path) for path in sys.argv[2:]},
    }
    with open(sys.argv[1], "w") as out:
        json.dump(report, out)


main()
