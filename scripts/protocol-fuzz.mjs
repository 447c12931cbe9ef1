// Lies to a supervisor: as a recorder, and at its control socket (scripts/runtime/protocol-fuzz.mjs). The native side of the same is
// `GCR_FUZZ_SESSIONS=N process_test … hostile_supervisor` and `GCR_FUZZ_RUNS=N gcr_fuzz_wire` (native/recorder/test, native/core/fuzz).
//   node scripts/protocol-fuzz.mjs [--sessions N] [--first SEED]      default: 3000 sessions from seed 1
// Prints each finding with the seed that repeats it; ends with 1 when there was one.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Store } from '../dist/checkpoint/index.js';
import { InputError } from '../dist/diagnostics/index.js';
import { buildTemplatesFromImage } from '../dist/pipeline/index.js';
import { checkpoint } from '../dist/runtime/checkpoint.js';
import { ControlServer } from '../dist/runtime/control-server.js';
import { encodeEvent } from '../dist/runtime/events.js';
import { HostImages } from '../dist/runtime/host-images.js';
import { HostMemory } from '../dist/runtime/host-memory.js';
import { encodeMessage } from '../dist/runtime/messages.js';
import { SupervisedProcess } from '../dist/runtime/process.js';
import { RecorderLink } from '../dist/runtime/recorder-link.js';
import { StagingPool } from '../dist/runtime/staging.js';
import { PackedTemplates, packTemplates } from '../dist/templates/index.js';
import { playClients, playRecorder } from './runtime/protocol-fuzz.mjs';

const { values } = parseArgs({ options: { sessions: { type: 'string' }, first: { type: 'string' } } });
const sessions = Number(values.sessions ?? 3000);
const first = Number(values.first ?? 1);
const library = {
  Store,
  InputError,
  buildTemplatesFromImage,
  PackedTemplates,
  packTemplates,
  checkpoint,
  ControlServer,
  encodeEvent,
  HostImages,
  HostMemory,
  StagingPool,
  encodeMessage,
  SupervisedProcess,
  RecorderLink,
};
const folder = mkdtempSync(join(tmpdir(), 'gcr-fuzz-'));
let findings = 0;
try {
  for (let seed = first; seed < first + sessions; seed++)
    for (const message of [...(await playRecorder(library, seed)), ...(await playClients(library, folder, seed))]) {
      findings++;
      console.log(message);
    }
  console.log(`${sessions} recorders and ${8 * sessions} clients that lie, ${findings} findings`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit(findings > 0 ? 1 : 0);
