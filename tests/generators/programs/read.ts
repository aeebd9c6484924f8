// Reads lines {kind, value} with models that were generated, and prints what comes out of them.
import { readFileSync } from 'fs';
import { UploadResult as UploadResultByQuicktype, Convert as Results } from './quicktype/UploadResult';
import { Convert as Documents } from './quicktype/ProcessedDocument';
import { Convert as References } from './quicktype/DeadLetterReference';
import { Convert as Headers } from './quicktype/DeadLetterHeaders';
import { UploadResult as RawResult } from './raw/UploadResult';
import { DeadLetterHeaders } from './typescript/DeadLetterHeaders';
import { DeadLetterReference } from './typescript/DeadLetterReference';
import { ProcessedDocument } from './typescript/ProcessedDocument';
import { UploadResult } from './typescript/UploadResult';

type Kind = 'UploadResult' | 'ProcessedDocument' | 'DeadLetterReference' | 'DeadLetterHeaders';
type Reader = (text: string) => string;

const readers: Record<string, Record<Kind, Reader>> = {
  modelina: {
    UploadResult: (text) => UploadResult.unmarshal(text).marshal(),
    ProcessedDocument: (text) => ProcessedDocument.unmarshal(text).marshal(),
    DeadLetterReference: (text) => DeadLetterReference.unmarshal(text).marshal(),
    DeadLetterHeaders: (text) => DeadLetterHeaders.unmarshal(text).marshal(),
  },
  quicktype: {
    UploadResult: (text) => Results.uploadResultToJson(Results.toUploadResult(text)),
    ProcessedDocument: (text) =>
      Documents.processedDocumentToJson(Documents.toProcessedDocument(text)),
    DeadLetterReference: (text) =>
      References.deadLetterReferenceToJson(References.toDeadLetterReference(text)),
    DeadLetterHeaders: (text) => Headers.deadLetterHeadersToJson(Headers.toDeadLetterHeaders(text)),
  },
};

// What a compiler sees of them: names of the contract, and null where there may be null.
export function told(raw: RawResult, quick: UploadResultByQuicktype): string {
  const place: number | undefined = raw.replay_of?.offset;
  const failed: string[] = quick.failed_chunks.map((chunk) => `${chunk.chunk_id}: ${chunk.reason}`);
  return `${raw.status} ${raw.document_id ?? 'unknown'} ${place} ${failed}`;
}

const reader = readers[process.argv[2] ?? ''];
if (reader === undefined) throw new Error('no such reader');
for (const line of readFileSync(0, 'utf8').split('\n')) {
  if (line === '') continue;
  const { kind, value } = JSON.parse(line) as { kind: Kind; value: unknown };
  console.log(JSON.stringify(JSON.parse(reader[kind](JSON.stringify(value)))));
}
