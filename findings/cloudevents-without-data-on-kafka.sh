#!/usr/bin/env bash
# cloudevents 2.2.0 (Python): in Kafka's binary mode an event without data gets the value b"", not
# null. The Kafka protocol binding 1.0.2 (3.2.2) says that such an event is a message with no value,
# which a compacted topic takes for a tombstone. An empty value is none: compaction keeps it, and a
# consumer that waits for null never sees a removal. A publisher has to send None in its place.
#
# Seen: "the value of an event without data: b''". Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check cloudevents==2.2.0
cat > "$folder/without_data.py" <<'PYTHON'
from importlib.metadata import version

from cloudevents.core.bindings.kafka import to_binary
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

attributes = {"specversion": "1.0", "id": "1", "type": "removed", "source": "/docs"}
print("cloudevents", version("cloudevents"))
message = to_binary(CloudEvent(dict(attributes, partitionkey="guide-1"), None), JSONFormat())
print("the value of an event without data:", message.value)
PYTHON
"$folder/venv/bin/python" "$folder/without_data.py" | tee "$folder/out"
grep -q "^the value of an event without data: b''$" "$folder/out"
