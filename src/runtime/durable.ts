/**
 * A durable checkpoint: device memory in the store as ever, and the rest of the process in an image that CRIU writes beside it. What the last checkpoint
 * has is not copied again, so increments taken while the application runs are what keeps the stop short.
 *
 * The application is held, its memory unmapped, its control state taken into the process by the driver, and the recorder's connection let go; then nothing of
 * device and supervisor is in the process, and CRIU can write it. The manifest is committed when the image is durable. Until then nothing exists but
 * garbage, and the application is brought back whatever fails. It ends only when that was asked for, and only after the commit.
 */
import { ImageWriter, type ProcessImage, type Store } from '../checkpoint/index.js';
import { checkpoint, whyFull } from './checkpoint.js';
import { type ControlCheckpointResult, checkpointWithControl } from './control-checkpoint.js';
import { dumpTree, findCriu, machineNow } from './criu.js';
import { RuntimeError } from './errors.js';
import { listOpenFiles } from './open-files.js';
import type { OperationContext, SupervisedProcess } from './process.js';
import { endAll, endWithThis, rootOf, signalAll, stdioOf, threadsOf, treeOf } from './process-tree.js';
import { numbersOf, surroundingsOf } from './surroundings.js';

export interface DurableOptions {
  readonly note?: string;
  readonly command: readonly string[];
  /** End the application when it is saved. */
  readonly stop?: boolean;
  /** Path of CRIU; absent: by `PATH`. */
  readonly criu?: string;
  /** Numbers of all supervised processes. */
  readonly supervised: readonly number[];
}

export interface DurableResult extends ControlCheckpointResult {
  readonly image: { readonly folder: string; readonly bytes: number };
  readonly stopped: boolean;
  /** Milliseconds: letting the connection go, CRIU's work, coming back. They are part of `checkpointed`. */
  readonly host: { readonly park: number; readonly dump: number; readonly back: number };
}

const SOCKET = /^socket:/;

/** Refuses what CRIU could not bring back, before anything is stopped. */
function checkTree(
  process: SupervisedProcess,
  root: number,
  tree: readonly number[],
  supervised: readonly number[],
): void {
  const refuse = (message: string, hint: string) => new RuntimeError('refused', 'GCR8117', message, hint);
  const others = supervised.filter((pid) => pid !== process.pid && tree.includes(pid));
  if (others.length > 0) {
    const hint = 'durable checkpoints are of programs in which one process uses the device';
    throw refuse(`process ${process.pid} belongs with process ${others.join(', ')}, which uses a device, too`, hint);
  }
  const inside = tree.find((pid) => numbersOf(pid).length > 1);
  if (inside !== undefined) {
    const hint = 'start `gcr-templates run` inside of the container';
    throw refuse(`process ${inside} is in a PID namespace of its own, which CRIU cannot bring back from outside`, hint);
  }
  const names = ['input', 'output', 'error'];
  for (const [index, link] of stdioOf(root).entries())
    if (SOCKET.test(link)) {
      const hint = 'start the application with files, pipes, a terminal or /dev/null';
      throw refuse(`standard ${names[index]} of process ${root} is a socket, which cannot be brought back`, hint);
    }
}

/** @throws RuntimeError, StoreError; the application then goes on */
export async function durableCheckpoint(
  process: SupervisedProcess,
  store: Store,
  { stop = false, criu: wanted, supervised, ...options }: DurableOptions,
  context: OperationContext,
): Promise<DurableResult> {
  context.report({ step: 'check' });
  const criu = await findCriu(wanted);
  const { socket, driver, simulatedDevice } = surroundingsOf(process.pid);
  const root = rootOf(process.pid, socket);
  checkTree(process, root, treeOf(root), supervised);
  process.checkSaveable(true);
  // Without a parent all memory would be copied while the application is stopped. Where recording has stopped it is in any case.
  const because = await whyFull(process, store, options);
  if (because !== undefined && process.bridge.state.kind === 'recording')
    await checkpoint(process, store, options, context);
  const writer = await ImageWriter.begin(store.place);
  const host = { park: 0, dump: 0, back: 0 };
  const timed = async (step: keyof typeof host, run: () => Promise<void>) => {
    const start = performance.now();
    await run();
    host[step] = performance.now() - start;
  };
  let tree: readonly number[] = [];
  let numbers: readonly number[] = [];
  /** Nobody would let a stopped process go on, or end it. */
  let unwatch = () => {};
  const dump = async (): Promise<'restore' | 'stay'> => {
    context.report({ step: 'park' });
    await timed('park', () => process.park());
    tree = treeOf(root);
    numbers = threadsOf(tree);
    context.report({ step: 'dump' });
    if (stop) unwatch = endWithThis(tree);
    try {
      await timed('dump', () => dumpTree(criu, root, writer.path, stop ? 'stopped' : 'running'));
    } catch (error) {
      // Whatever brings it back speaks to it.
      await process.unpark();
      throw error;
    }
    if (stop) {
      process.whenUnparked = () => signalAll(tree, 'SIGCONT');
      return 'stay';
    }
    await timed('back', () => process.unpark());
    return 'restore';
  };
  let image: ProcessImage | undefined;
  const finish = async (): Promise<ProcessImage> => {
    context.report({ step: 'sync' });
    await listOpenFiles(writer.path);
    image = {
      ...(await writer.finish()),
      criu: criu.version,
      ...machineNow(),
      root,
      numbers,
      stdio: stdioOf(root),
      socket,
      driver: driver ?? null,
      simulatedDevice: simulatedDevice ?? null,
    };
    return image;
  };
  try {
    const asked = { ...options, image: finish, ...(stop && { keepHeld: true }) };
    const result = await checkpointWithControl(process, store, asked, context, dump);
    const { folder, files } = image!;
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    if (stop) {
      context.report({ step: 'stop' });
      await endAll(tree);
      // When whoever asked has the answer: with its last process the supervisor ends.
      setImmediate(() => process.over());
    }
    return { ...result, image: { folder, bytes }, stopped: stop, host };
  } catch (error) {
    await writer.abort();
    throw error;
  } finally {
    unwatch();
  }
}
