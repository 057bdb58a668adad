"""Stand in for the `vllm` command: take what a GPU deployment says, run it on CPU with the tiny model.

    launch.py serve MODEL ARGS...     becomes    vllm serve DIR/model --served-model-name MODEL ARGS'...

so that a job file written for GPUs starts unchanged. Every argument that was changed or dropped is
told on stderr. The process is replaced (exec), so that signals and the exit code are vLLM's own.
"""

import importlib.metadata
import json
import os
import pathlib
import sys
import tempfile

DIR = pathlib.Path(__file__).resolve().parent.parent

# What the CPU run insists on; what the caller said of them is dropped.
FORCED = {
    "--dtype": "float32",
    "--block-size": "32",
    "--kv-cache-memory-bytes": str(64 << 20),
    "--distributed-executor-backend": "uni",
}
# At most this: the model is 2048 tokens long, and the cache holds 64 MiB of keys and values.
CAPPED = {"--max-model-len": 2048, "--max-num-seqs": 8, "--max-num-batched-tokens": 2048}
# Arguments (with a value) that describe GPUs or the real model's files.
DROPPED = {
    "--attention-backend", "--compilation-config", "-O", "-cc", "--data-parallel-size", "-dp", "--download-dir",
    "--gpu-memory-utilization", "--kv-cache-dtype", "--load-format", "--optimization-level",
    "--pipeline-parallel-size", "-pp", "--quantization", "-q", "--revision", "--speculative-config",
    "--tensor-parallel-size", "-tp", "--tokenizer", "--tokenizer-revision",
}
DROPPED_FLAGS = {"--async-scheduling", "--enable-expert-parallel", "--enforce-eager"}

# The longest path of a Unix socket is 107 bytes; vLLM appends a UUID to its folder's name.
LONGEST_SOCKET_DIR = 107 - 1 - 36


def say(text):
    print(f"vllm on CPU: {text}", file=sys.stderr, flush=True)


def split(args):
    """Yield (name, value, words): name is None for a positional; value is None if no '=' was given."""
    for i, word in enumerate(args):
        if not word.startswith("-"):
            yield i, None, None
            continue
        name, eq, value = word.partition("=")
        yield i, name.replace("_", "-"), value if eq else None


def adapt(args):
    """The arguments after the model, fit for CPU."""
    out, given, skip = [], {}, False
    for i, name, value in split(args):
        if skip:
            skip = False
            continue
        if name in DROPPED_FLAGS:
            continue
        takes_value = name in FORCED or name in CAPPED or name in DROPPED or name == "--kv-transfer-config"
        if not takes_value:
            out.append(args[i])
            continue
        if value is None:
            value, skip = (args[i + 1] if i + 1 < len(args) else ""), True
        given[name] = value
    for name, value in given.items():
        if name in DROPPED:
            say(f"without {name} {value}")
        elif name in FORCED and value != FORCED[name]:
            say(f"{name} {FORCED[name]} instead of {value}")
    for name, value in FORCED.items():
        out += [name, value]
    for name, most in CAPPED.items():
        out += [name, cap(name, given.get(name), most)]
    if "--kv-transfer-config" in given:
        out += ["--kv-transfer-config", on_host(given["--kv-transfer-config"])]
    return out + ["--enforce-eager"]


def cap(name, value, most):
    if value is None:
        return str(most)
    if value.isdigit() and 0 < int(value) <= most:
        return value
    say(f"{name} {most} instead of {value}")
    return str(most)


def on_host(text):
    """The KV transfer settings with every buffer in main memory."""
    try:
        config = json.loads(text)
    except ValueError:
        return text  # vLLM's own message about it is the better one
    edit(config)
    return json.dumps(config)


def edit(node):
    if isinstance(node, list):
        for child in node:
            edit(child)
    elif isinstance(node, dict):
        if "kv_connector" in node and node.get("kv_buffer_device", "cpu") != "cpu":
            say(f"kv_buffer_device cpu instead of {node['kv_buffer_device']}")
            node["kv_buffer_device"] = "cpu"
        for child in node.values():
            edit(child)


def environment():
    env = dict(os.environ)
    for name in ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "VLLM_CPU_KVCACHE_SPACE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        env.pop(name, None)
    task = env.get("NOMAD_TASK_DIR")
    state = pathlib.Path(task) if task else DIR
    env["HOME"], env["TMPDIR"] = str(state / "home"), str(state / "tmp")
    for name in ("HOME", "TMPDIR"):
        os.makedirs(env[name], exist_ok=True)
    defaults = {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "PYTHONHASHSEED": "0",  # prefill and decode must hash blocks alike
        "OMP_NUM_THREADS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # with the "uni" executor: one process less
        "NIXL_PTHR_DELAY_US": "5000",
        "UCX_TLS": "tcp,shm,self",
    }
    if loopback(env.get("VLLM_NIXL_SIDE_CHANNEL_HOST", "localhost")):
        defaults["UCX_NET_DEVICES"] = "lo"
    if len(env["TMPDIR"]) > LONGEST_SOCKET_DIR:
        defaults["VLLM_RPC_BASE_PATH"] = tempfile.gettempdir()
    for name, value in defaults.items():
        env.setdefault(name, value)
    return env


def loopback(host):
    return host in ("localhost", "::1") or host.startswith("127.")


def main():
    args = sys.argv[1:]
    if args in (["--version"], ["-v"]):
        print(importlib.metadata.version("vllm"))  # what vLLM prints, without importing it for seconds
        return
    if len(args) >= 2 and args[0] == "serve" and not args[1].startswith("-"):
        model, rest = args[1], args[2:]
        named = any(name == "--served-model-name" for _, name, _ in split(rest))
        names = [] if named else ["--served-model-name", model]
        args = ["serve", str(DIR / "model"), *names, *adapt(rest)]
        say(f"{DIR / 'model'} stands in for {model}")
    program = [sys.executable, str(DIR / "venv" / "bin" / "vllm"), *args]
    os.execve(program[0], program, environment())


main()
