"""Which settings the installed Mooncake takes when a store is set up by a dictionary.

    read_mooncake.py REPORT    writes {"version", "keys"} to REPORT

The list is the one that its compiled module documents: it is not to be had otherwise, and it does not complain of others.
"""

import importlib.metadata
import json
import re
import sys

from mooncake.store import MooncakeDistributedStore

text = MooncakeDistributedStore.setup.__doc__.split("Supported keys:", 1)[1]
with open(sys.argv[1], "w") as out:
    json.dump({
        "version": importlib.metadata.version("mooncake-transfer-engine-non-cuda"),
        "keys": re.findall(r"^\s+(\w+)(?: \(required\))?:", text, re.M),
    }, out)
