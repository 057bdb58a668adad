"""What the installed vLLM makes of command lines, environments and a Mooncake store's file, by its own readers.

    read_vllm.py REPORT CASES    CASES: {NAME: {"argv": [...], "env": {...}, "store": PATH or ""}}, as JSON

writes {"version", "cases": {NAME: {...}}} to REPORT. For each case: "transfer" is the KVTransferConfig that came
out of the parser, "env" what vLLM's own table of variables answers (a variable that is not in it is missing),
"store" the MooncakeStoreConfig, "read" the names that each connector looks up in its extra settings, "error"
what was raised or printed instead. Nothing is started and no model is looked at.
"""

import contextlib
import dataclasses
import functools
import importlib
import importlib.metadata
import io
import json
import os
import sys

import vllm.envs
from source_keys import looked_up
from vllm.distributed.kv_transfer.kv_connector.factory import KVConnectorFactory
from vllm.distributed.mooncake_store import MooncakeStoreConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser

# Where a connector's settings are read outside of its own module.
ELSEWHERE = {
    "NixlConnector": ["vllm.distributed.kv_transfer.kv_connector.v1.nixl"],
    "NixlPullConnector": ["vllm.distributed.kv_transfer.kv_connector.v1.nixl"],
    "NixlPushConnector": ["vllm.distributed.kv_transfer.kv_connector.v1.nixl"],
    "OffloadingConnector": ["vllm.distributed.kv_transfer.kv_connector.v1.offloading", "vllm.v1.kv_offload"],
    "MooncakeStoreConnector": ["vllm.distributed.kv_transfer.kv_connector.v1.mooncake"],
    "LMCacheConnectorV1": ["lmcache.integration.vllm", "lmcache.v1.lookup_client"],
}


def arguments(argv):
    """COMMAND serve MODEL ARGS... as `vllm serve` parses it."""
    parser = make_arg_parser(FlexibleArgumentParser())
    args = parser.parse_args(argv[2:])
    args.model = args.model_tag  # as `vllm serve` does
    return AsyncEngineArgs.from_cli_args(args)


@contextlib.contextmanager
def environment(env):
    before = dict(os.environ)
    os.environ.update(env)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@functools.cache
def connector_keys(connector):
    """What the connector looks up in kv_connector_extra_config. vLLM takes LMCacheMPConnector from LMCache if it can."""
    registered = KVConnectorFactory._registry.get(connector)
    if registered is None:
        return []
    module = registered().__module__
    keys = looked_up(module, *ELSEWHERE.get(connector, []))
    if connector == "LMCacheMPConnector" and module.startswith("lmcache."):
        adapter = importlib.import_module("lmcache.integration.vllm.vllm_multi_process_adapter")
        keys |= {adapter._EXTRA_CONFIG_KEY_PREFIX + setting.name for setting in adapter.ExtraConfigDefault}
    return sorted(keys)


def read(case):
    found = {"transfer": None, "env": {}, "store": None, "read": {}, "error": ""}
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), environment(case["env"]):
            args = arguments(case["argv"])
            transfer = args.kv_transfer_config
            found["transfer"] = dataclasses.asdict(transfer)
            extra = transfer.kv_connector_extra_config
            for part in [{"kv_connector": transfer.kv_connector}, *extra.get("connectors", [])]:
                found["read"][part["kv_connector"]] = connector_keys(part["kv_connector"])
            found["env"] = {k: vllm.envs.environment_variables[k]() for k in case["env"] if k in vllm.envs.environment_variables}
            if case["store"]:
                found["store"] = dataclasses.asdict(MooncakeStoreConfig.from_file(case["store"]))
    except (Exception, SystemExit) as e:  # argparse exits; the report names it
        found["error"] = f"{type(e).__name__}: {e} {said.getvalue()[-2000:]}"
    return found


def main():
    with open(sys.argv[2]) as f:
        cases = json.load(f)
    report = {"version": importlib.metadata.version("vllm"), "cases": {name: read(case) for name, case in cases.items()}}
    with open(sys.argv[1], "w") as out:
        json.dump(report, out, default=str)


main()
