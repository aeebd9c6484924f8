// What AsyncAPI's own parser says of a document: node asyncapi.mjs FILE
// Prints the addresses of its channels and every diagnostic.
import { Parser, fromFile } from '@asyncapi/parser';

const { document, diagnostics } = await fromFile(new Parser(), process.argv[2]).parse();
const channels = document === undefined ? [] : document.channels().all();
console.log(
  JSON.stringify({
    channels: channels.map((channel) => channel.address()),
    diagnostics: diagnostics.map((each) => `${each.code} at ${each.path.join('/')}: ${each.message}`),
  }),
);
