/**
 * A durable checkpoint brought back when its process does not live any more: CRIU makes the processes, under their numbers of before; the recorder finds this
 * supervisor in the place of its own; and the process is resumed like one that was suspended. Everything that can be found wrong is found before
 * a process is made: the files are read beside what makes the place for the process, and when both are wrong the files are what is told. Its device memory is read
 * from the store meanwhile, too. If it fails afterwards the processes are ended: they never run without their device memory.
 */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { checkImage, imageFolder, type Manifest, type ProcessImage, Store } from '../checkpoint/index.js';
import { type Criu, findCriu, isOlder, machineNow, restoreTree } from './criu.js';
import { RuntimeError } from './errors.js';
import { type CutFile, checkOpenFiles, cutFiles, type OpenFile } from './open-files.js';
import type { Device } from './parts.js';
import type { OperationContext } from './process.js';
import { endAll, takenOf, treeOf } from './process-tree.js';
import { ReadAhead } from './read-ahead.js';
import { type ResumeResult, resume } from './suspend.js';
import { Successor } from './takeover.js';

export interface ReviveOptions {
  /** As `Store.find` takes it. */
  readonly checkpoint: string;
  readonly store: string;
  readonly criu?: string;
  /** Cut files back that the process writes to and that have only grown since. */
  readonly truncateFiles?: boolean;
  readonly onNote: (message: string) => void;
  readonly report: OperationContext['report'];
  /** Ends the supervision; the process goes on. */
  readonly signal: AbortSignal;
  readonly onReady: (result: ReviveResult) => void;
}

export interface ReviveResult extends ResumeResult {
  readonly pid: number;
  readonly cutFiles: readonly CutFile[];
  /** Milliseconds: everything before there is a process, CRIU's work, until the recorder had told everything, and what `timings` is about. */
  readonly host: {
    readonly check: number;
    readonly restore: number;
    readonly takeover: number;
    readonly resume: number;
  };
}

const refuse = (message: string, hint: string): RuntimeError => new RuntimeError('refused', 'GCR8117', message, hint);

/** @throws RuntimeError GCR8117 when the machine is not the one that the image is for */
function checkMachine(image: ProcessImage, manifest: Manifest, criu: Criu, onNote: (message: string) => void): void {
  const now = machineNow();
  const memory = `\`gcr-templates extract\` reads the device memory of checkpoint ${manifest.id}`;
  if (isOlder(criu.version, image.criu))
    throw refuse(
      `the process was written by CRIU ${image.criu}, and this is ${criu.version}`,
      'use that version or a newer one',
    );
  if (image.machine !== now.machine)
    throw refuse(`the process is of a machine of kind ${image.machine}, and this is ${now.machine}`, memory);
  if (image.module !== now.module) {
    const [was, is] = [image.module ?? 'none', now.module ?? 'none'];
    const hint = `install driver ${was} again, or restart the application; ${memory}`;
    throw refuse(`the process has the state of driver ${was}, and this machine has ${is}`, hint);
  }
  if (image.kernel !== now.kernel) onNote(`the process is of kernel ${image.kernel}, and this is ${now.kernel}`);
}

/** @throws RuntimeError GCR8117 when a number that the process needs is somebody else's */
async function checkNumbers({ numbers }: ProcessImage): Promise<void> {
  const taken = await takenOf(numbers);
  if (taken.length === 0) return;
  const some = taken.slice(0, 5).join(', ');
  const hint =
    'end that process, or wait until it has ended; when it is this very process, `gcr-templates restore --pid` puts its memory back';
  throw refuse(`the process needs number ${some}${taken.length > 5 ? ', …' : ''} again, which a process has`, hint);
}

/** @throws RuntimeError GCR8117 when the process needs a terminal and there is none */
function checkStdio({ stdio }: ProcessImage): void {
  const terminal = stdio.find((link) => /^\/dev\/(pts\/|tty|console)/.test(link));
  if (terminal !== undefined && !process.stdin.isTTY)
    throw refuse(
      `the process was started on a terminal (${terminal}), and there is none`,
      'restore it from a terminal, without --background',
    );
}

/** @returns files that are to be cut @throws RuntimeError GCR8117 when the image is damaged, or files that the process writes to are not as it needs them */
async function checkFiles(
  store: Store,
  image: ProcessImage,
  { truncateFiles = false, onNote }: ReviveOptions,
): Promise<readonly OpenFile[]> {
  const [problem] = await checkImage(store.place, image, true);
  if (problem) throw refuse(`${problem.file} ${problem.message}`, problem.remedy);
  return checkOpenFiles(imageFolder(store.place, image), truncateFiles, onNote);
}

/**
 * Brings a process back and supervises it to its end.
 *
 * @throws RuntimeError, StoreError; nothing runs then
 */
export async function revive(options: ReviveOptions): Promise<void> {
  const { onNote, report, signal } = options;
  const context: OperationContext = { report, signal };
  const store = await Store.open({ directory: options.store });
  let successor: Successor | undefined;
  let ahead: ReadAhead | undefined;
  const host = { check: 0, restore: 0, takeover: 0, resume: 0 };
  const timed = async <T>(step: keyof typeof host, run: () => Promise<T>): Promise<T> => {
    const start = performance.now();
    try {
      return await run();
    } finally {
      host[step] += performance.now() - start;
    }
  };
  try {
    const id = await store.find(options.checkpoint);
    const manifest = await store.manifest(id);
    const { image, process: origin } = manifest;
    if (!image || !origin) {
      const hint = `make one with \`gcr-templates checkpoint --durable\`, or give the living process with --pid`;
      throw refuse(`checkpoint ${id} holds device memory only: its process cannot be made from it`, hint);
    }
    const place = async (): Promise<Place> => {
      const plan = await store.restorePlan(id);
      let device: Device | undefined;
      try {
        mkdirSync(dirname(image.socket), { recursive: true, mode: 0o700 });
        const surroundings = {
          socket: image.socket,
          driver: image.driver ?? undefined,
          simulatedDevice: image.simulatedDevice ?? undefined,
        };
        successor = await Successor.listen(origin.pid, surroundings, options.store, onNote);
        device = await openDevice(successor, manifest);
      } catch (error) {
        plan.close();
        throw error;
      }
      // What CRIU is about to fill is not to be had.
      const others = image.files.reduce((sum, { bytes }) => sum + bytes, 0);
      ahead = await ReadAhead.begin(plan, successor.supervisor.staging, device, others);
      return { successor, ahead };
    };
    const { criu, grown, ready } = await timed('check', async () => {
      report({ step: 'check' });
      const found = await findCriu(options.criu);
      checkMachine(image, manifest, found, onNote);
      await checkNumbers(image);
      checkStdio(image);
      const [files, there] = await Promise.allSettled([checkFiles(store, image, options), place()]);
      if (files.status === 'rejected') throw files.reason;
      if (there.status === 'rejected') throw there.reason;
      return { criu: found, grown: files.value, ready: there.value };
    });
    report({ step: 'revive' });
    const cut = await cutFiles(grown, onNote);
    await timed('restore', () => restoreTree(criu, imageFolder(store.place, image), image.stdio));
    const result = await bringBack(ready, image, context, timed);
    options.onReady({ ...result, pid: origin.pid, cutFiles: cut, host });
    await ready.successor.ended(signal);
  } finally {
    await ahead?.close();
    successor?.close();
    store.close();
  }
}

/** The device has to be there before a process is made that needs it. */
async function openDevice({ supervisor }: Successor, { device }: Manifest): Promise<Device | undefined> {
  if (!device) return undefined;
  try {
    return await supervisor.parts.openDevice(Buffer.from(device.uuid, 'hex'));
  } catch (error) {
    const hint = 'a process can be brought back only where its device is';
    throw refuse(`${device.name} with number ${device.uuid} cannot be used here: ${(error as Error).message}`, hint);
  }
}

/** Where the process is expected, and what is read for it meanwhile. */
interface Place {
  readonly successor: Successor;
  readonly ahead: ReadAhead;
}

async function bringBack(
  { successor, ahead }: Place,
  image: ProcessImage,
  context: OperationContext,
  timed: <T>(step: 'takeover' | 'resume', run: () => Promise<T>) => Promise<T>,
): Promise<ResumeResult> {
  try {
    const subject = await timed('takeover', () => successor.takeOver(ahead.plan));
    return await timed('resume', () =>
      subject.operate('resume', context, (own) => resume(subject, successor.store, own, ahead)),
    );
  } catch (error) {
    await endAll(treeOf(image.root));
    throw error;
  } finally {
    await ahead.close();
  }
}
