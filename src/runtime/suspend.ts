/**
 * Suspending an application: its memory is saved, unmapped and given up, so that the device has it back; the application waits. Resuming makes
 * new memory, fills it from the checkpoint, and hands it over at the addresses of before.
 *
 * Until the checkpoint is committed nothing has happened. Once memory is given up the checkpoint is all there is of it, so a resume that
 * fails leaves the application suspended, to be tried again.
 */
import type { Store } from '../checkpoint/index.js';
import { type CheckpointOptions, type CheckpointResult, checkpoint } from './checkpoint.js';
import { RuntimeError } from './errors.js';
import { MAX_DESCRIPTORS } from './messages.js';
import type { OperationContext, SupervisedProcess } from './process.js';
import { fillAll } from './restore.js';
import { openSaved } from './saved-memory.js';

const DETACH_MS = 30_000;
const ATTACH_MS = 30_000;

export interface ResumeResult {
  readonly id: string;
  readonly bytes: number;
  readonly handles: number;
}

/** @throws RuntimeError, StoreError; the application then goes on */
export async function suspend(
  process: SupervisedProcess,
  store: Store,
  options: CheckpointOptions,
  context: OperationContext,
): Promise<CheckpointResult> {
  if (process.state === 'suspended')
    throw new RuntimeError('refused', 'GCR8105', `process ${process.pid} is suspended already`, 'resume it first');
  const result = await checkpoint(process, store, { ...options, keepHeld: true }, context);
  context.report({ step: 'detach' });
  try {
    await process.link.request('detach', {}, DETACH_MS);
  } catch (error) {
    // Whether it has detached is known only if it said so; if it has not said anything the connection ends, and it helps itself.
    await process.release();
    throw error;
  }
  process.suspendedAs = { target: result.target, id: result.manifest.id };
  process.state = 'suspended';
  process.custody.releaseAll();
  return result;
}

/** @throws RuntimeError, StoreError; the application then stays suspended */
export async function resume(
  process: SupervisedProcess,
  store: Store,
  context: OperationContext,
): Promise<ResumeResult> {
  const place = process.suspendedAs;
  if (process.state !== 'suspended' || place === undefined)
    throw new RuntimeError('refused', 'GCR8108', `process ${process.pid} is not suspended`);
  const { report } = context;
  report({ step: 'check' });
  const saved = await openSaved(process, store, place);
  try {
    report({ step: 'recreate' });
    const handles = [...process.custody.handles.keys()];
    const fds = new Map<number, number>();
    for (const handle of handles) fds.set(handle, await process.custody.recreate(handle));
    const bytes = await fillAll(process, saved, context);
    report({ step: 'attach' });
    for (let at = 0; at === 0 || at < handles.length; at += MAX_DESCRIPTORS) {
      const some = handles.slice(at, at + MAX_DESCRIPTORS);
      const more = at + MAX_DESCRIPTORS < handles.length;
      const own = some.map((handle) => fds.get(handle)!);
      await process.link.request('attach', { more, handles: some }, ATTACH_MS, own);
    }
    process.state = 'held';
    process.suspendedAs = undefined;
    report({ step: 'release' });
    await process.release();
    return { id: place.id, bytes, handles: handles.length };
  } finally {
    saved.close();
  }
}
