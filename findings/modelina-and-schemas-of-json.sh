#!/usr/bin/env bash
# Modelina 5.10.1 (AsyncAPI's generator of models) and valid JSON Schemas in draft 7: three surprises.
#
# 1. Python: a required string with a `const` becomes a field whose default is in two pairs of single
#    quotes, ''event'': the module can't be imported, because that is no Python (their issue 2474).
# 2. Java: a field that is `anyOf` a `$ref` and null becomes an interface by the name of the field,
#    which the referenced class implements. Where the field `next` refers to the class `Next`, both
#    have one name and one file, and what is left reads "class Next implements Next": javac refuses
#    a cycle. A `title` beside the `anyOf` gives the interface another name.
# 3. An AsyncAPI document of version 3.1.0 is none to it, because it knows them up to 3.0.0. It does
#    not say so: it takes the document for a JSON Schema and makes one model, `Root`, of nothing.
#    The same document as 3.0.0 gives the model that is in it.
#
# Seen: the lines at the end. Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts @asyncapi/modelina@5.10.1
cat > models.mjs <<'JS'
import { readFileSync } from 'node:fs';
import {
  JavaGenerator,
  PythonGenerator,
  PYTHON_PYDANTIC_PRESET,
  TypeScriptGenerator,
} from '@asyncapi/modelina';

const { version } = JSON.parse(readFileSync('node_modules/@asyncapi/modelina/package.json'));
console.log('modelina', version);
const schema = (properties, definitions) => ({
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'Message',
  type: 'object',
  properties,
  required: Object.keys(properties),
  definitions,
});
const lines = (models, pattern) =>
  models.flatMap((model) => model.result.split('\n')).filter((line) => pattern.test(line));

const kind = schema({ kind: { type: 'string', const: 'event' } }, {});
const python = await new PythonGenerator({ presets: [PYTHON_PYDANTIC_PRESET] }).generate(kind);
console.log('python:', lines(python, /kind: /)[0].trim());

const next = { title: 'Next', type: 'object', properties: { id: { type: 'string' } } };
const orNull = { anyOf: [{ $ref: '#/definitions/Next' }, { type: 'null' }] };
for (const field of [orNull, { title: 'OptionalNext', ...orNull }]) {
  const java = await new JavaGenerator().generate(schema({ next: field }, { Next: next }));
  console.log('java:', lines(java, /public (class Next|interface)/).join(' '));
}

for (const asyncapi of ['3.1.0', '3.0.0']) {
  const models = await new TypeScriptGenerator().generate({
    asyncapi,
    info: { title: 'Greetings', version: '1.0.0' },
    channels: {
      greetings: {
        address: 'greetings',
        messages: { greeting: { payload: { ...next, title: 'Greeting' } } },
      },
    },
    operations: { hear: { action: 'receive', channel: { $ref: '#/channels/greetings' } } },
  });
  console.log(`asyncapi ${asyncapi}:`, models.map((model) => model.modelName).join(' '));
}
JS
node models.mjs | tee seen
diff seen - <<'SEEN'
modelina 5.10.1
python: kind: str = Field(default=''event'', frozen=True)
java: public interface Next { public class Next implements Next {
java: public interface OptionalNext { public class Next implements OptionalNext {
asyncapi 3.1.0: Root
asyncapi 3.0.0: Greeting
SEEN
echo "as it was"
