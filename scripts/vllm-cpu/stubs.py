"""Build stand-ins for the CUDA libraries that PyTorch's ordinary Linux build is linked to.

    stubs.py TORCH_LIB_DIR

The loader refuses to start a program whose libraries are missing, so torch cannot even be imported
on a machine without gigabytes of CUDA. Each stand-in has the names and symbol versions that torch
asks for; every function answers cudaErrorNoDevice, which torch reads as "there is no GPU here".
libcuda.so.1, the driver itself, is left out: programs look for it by hand, and not finding it is
the answer that they expect where there is no driver.
"""

import collections
import pathlib
import re
import subprocess
import sys
import tempfile

NO_DEVICE = 100  # cudaErrorNoDevice, and not zero in any of the libraries
IS_CUDA = re.compile(r"lib(cu|nv|nccl)")
LEFT_OUT = "libcuda.so.1"

# Symbols without a version say nothing of the library they come from; their names do.
PREFIXES = {
    "libcublasLt": "cublasLt",
    "libcublas": "cublas",
    "libcudart": "__cuda|cuda",
    "libcudnn": "cudnn",
    "libcufft": "cufft",
    "libcufile": "cuFile",
    "libcupti": "cupti|nvPerf",
    "libcurand": "curand",
    "libcusolver": "cusolver",
    "libcusparseLt": "cusparseLt",
    "libcusparse": "cusparse",
    "libnccl": "p?nccl",
    "libnvrtc": "nvrtc",
    "libnvshmem": "_?nvshmem",
}


def readelf(*args):
    return subprocess.run(["readelf", "-W", *args], check=True, capture_output=True, text=True).stdout


class Wanted:
    """What a set of libraries asks of the CUDA libraries: library -> symbol -> (version, kind)."""

    def __init__(self):
        self.libraries = set()
        self.symbols = collections.defaultdict(dict)
        self.unversioned = {}
        self.defined = set()

    def read(self, path, present):
        for name in re.findall(r"NEEDED.*\[(.+?)\]", readelf("-d", path)):
            if IS_CUDA.match(name) and name not in present:
                self.libraries.add(name)
        owner = self._version_owners(path)
        for line in readelf("--dyn-syms", path).splitlines():
            field = line.split()
            if len(field) < 8 or not field[0].rstrip(":").isdigit():
                continue
            kind, binding, section = field[3], field[4], field[6]
            name, _, version = field[7].partition("@")
            version = version.lstrip("@")
            if section != "UND":
                self.defined.add(name)
            elif owner.get(version) in self.libraries:
                self.symbols[owner[version]][name] = (version, kind)
            elif not version and binding != "WEAK":
                self.unversioned[name] = kind

    @staticmethod
    def _version_owners(path):
        """Symbol version -> the library that the loader expects it from."""
        owners, library = {}, None
        for line in readelf("-V", path).splitlines():
            if m := re.search(r"File: (\S+)", line):
                library = m[1]
            elif m := re.search(r"Name: (\S+)\s+Flags.*Version:", line):
                owners[m[1]] = library
        return owners

    def assign_unversioned(self):
        for name, kind in self.unversioned.items():
            if name in self.defined:
                continue
            for stem, prefix in PREFIXES.items():
                library = next((l for l in sorted(self.libraries) if re.match(stem + r"[._]", l)), None)
                if library and re.match(f"({prefix})", name):
                    self.symbols[library].setdefault(name, ("", kind))
                    break


def source(symbols):
    """C text that defines every symbol; what describes an error must return text."""
    lines = ['static const char none[] = "no CUDA device: this library is a stand-in";']
    for name, (_, kind) in sorted(symbols.items()):
        if kind == "OBJECT":
            lines.append(f"char {name}[4096];")
        elif re.search(r"(Error|Status|Result)(String|Name)", name):
            lines.append(f"const char *{name}(void) {{ return none; }}")
        else:
            lines.append(f"long {name}(void) {{ return {NO_DEVICE}; }}")
    return "\n".join(lines) + "\n"


def version_script(symbols):
    by_version = collections.defaultdict(list)
    for name, (version, _) in sorted(symbols.items()):
        if version:
            by_version[version].append(name)
    return "".join(f"{v} {{ global: {'; '.join(names)}; }};\n" for v, names in sorted(by_version.items()))


def build(library, symbols, out, work):
    c, script = work / "stub.c", work / "stub.map"
    c.write_text(source(symbols))
    script.write_text(version_script(symbols))
    versions = [f"-Wl,--version-script={script}"] if script.read_text() else []
    cmd = ["gcc", "-shared", "-fPIC", "-O1", "-w", "-fno-builtin", f"-Wl,-soname,{library}", *versions]
    subprocess.run([*cmd, "-o", str(out / library), str(c)], check=True)


def main():
    lib = pathlib.Path(sys.argv[1])
    torch = [p for p in sorted(lib.glob("*.so*")) if not IS_CUDA.match(p.name)]
    present = {p.name for p in torch}
    wanted = Wanted()
    for path in torch:
        wanted.read(path, present)
    wanted.assign_unversioned()
    wanted.libraries.discard(LEFT_OUT)
    with tempfile.TemporaryDirectory() as work:
        for library in sorted(wanted.libraries):
            build(library, wanted.symbols[library], lib, pathlib.Path(work))
            print(f"{library}: {len(wanted.symbols[library])} symbols")


main()
