"""Reads lines {kind, value} with models that were generated, and prints what comes out of them.

``python read.py modelina`` or ``datamodel``; ``PYTHONPATH`` names the folder of the models.
"""

import importlib
import json
import re
import sys

for line in sys.stdin:
    told = json.loads(line)
    kind = told["kind"]
    module = re.sub("(?<=[a-z])(?=[A-Z])", "_", kind).lower()
    package = {"modelina": "python", "datamodel": "datamodel"}[sys.argv[1]]
    model = getattr(importlib.import_module(f"{package}.{module}"), kind)
    print(model.model_validate_json(json.dumps(told["value"])).model_dump_json(by_alias=True))
