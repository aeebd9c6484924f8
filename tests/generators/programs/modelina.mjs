// Models of schemas in three languages: node modelina.mjs FOLDER SCHEMA...
// Prints the names of all models by language.
import { readFileSync } from 'node:fs';
import {
  JAVA_JACKSON_PRESET,
  JavaFileGenerator,
  PYTHON_PYDANTIC_PRESET,
  PythonFileGenerator,
  TS_COMMON_PRESET,
  TypeScriptFileGenerator,
} from '@asyncapi/modelina';

const marshalling = { preset: TS_COMMON_PRESET, options: { marshalling: true } };
const generators = {
  python: [
    new PythonFileGenerator({ presets: [PYTHON_PYDANTIC_PRESET] }),
    { packageName: 'python' },
  ],
  typescript: [
    new TypeScriptFileGenerator({ modelType: 'class', presets: [marshalling] }),
    { exportType: 'named' },
  ],
  raw: [
    new TypeScriptFileGenerator({ modelType: 'interface', rawPropertyNames: true }),
    { exportType: 'named' },
  ],
  java: [new JavaFileGenerator({ presets: [JAVA_JACKSON_PRESET] }), { packageName: 'models' }],
};
const [folder, ...schemas] = process.argv.slice(2);
const names = {};
for (const [language, [generator, options]] of Object.entries(generators)) {
  names[language] = [];
  const target = `${folder}/${language === 'java' ? 'models' : language}`;
  for (const schema of schemas) {
    const models = await generator.generateToFiles(
      JSON.parse(readFileSync(schema)),
      target,
      options,
    );
    names[language].push(...models.map((model) => model.modelName));
  }
}
console.log(JSON.stringify(names));
