/** Control state through the driver's own checkpoint: what suspend, resume and checkpoints with control state do, step by step, and when a step fails. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Store } from '../../src/checkpoint/index.js';
import { checkpoint } from '../../src/runtime/checkpoint.js';
import { checkpointWithControl } from '../../src/runtime/control-checkpoint.js';
import { type ControlHooks, withControlState } from '../../src/runtime/control-state.js';
import type { OperationContext } from '../../src/runtime/process.js';
import { statusOf } from '../../src/runtime/status.js';
import { resume, type SuspendOptions, suspend } from '../../src/runtime/suspend.js';
import { FakeApplication } from './fake-application.js';

const MIB = 1 << 20;
const stores: Store[] = [];
let number = 0;

async function memoryStore(): Promise<Store> {
  const store = await Store.open({ mem: `control-${process.pid}-${number++}` }, { create: true });
  stores.push(store);
  return store;
}

afterEach(() => {
  vi.useRealTimers();
  for (const store of stores.splice(0)) store.close();
});

function started() {
  const app = new FakeApplication();
  const data = app.alloc(2 * MIB);
  const other = app.alloc(MIB);
  app.variable('g_steps_seen', 8);
  app.launch('init', 64, 256, [data, data.bytes.length / 4, 1]);
  app.launch('init', 16, 256, [other, other.bytes.length / 4, 2]);
  return { app, data, other };
}

/** Of all steps that times were taken of, those of the control state. */
const stepsOf = (timings: object) => Object.keys(timings).filter((step) => CONTROL_STEPS.includes(step));
const CONTROL_STEPS = ['detach', 'lock', 'checkpoint', 'checkpointed', 'restore', 'unlock', 'attach'];

/** An operation's context; `at` is called when a step is first told. */
function contextOf(at: (step: string) => void = () => {}, signal = new AbortController().signal): OperationContext {
  const told = new Set<string>();
  return {
    signal,
    report: ({ step }) => {
      if (told.has(step)) return;
      told.add(step);
      at(step);
    },
  };
}

const COMMAND = { command: ['fake'] };
const suspended = (app: FakeApplication, store: Store, options: Partial<SuspendOptions> = {}, own = contextOf()) =>
  app.process.operate('suspend', own, (inner) => suspend(app.process, store, { ...COMMAND, ...options }, inner));
const resumed = (app: FakeApplication, store: Store, own = contextOf()) =>
  app.process.operate('resume', own, (inner) => resume(app.process, store, inner));
const withControl = (
  app: FakeApplication,
  store: Store,
  own = contextOf(),
  checkpointed?: ControlHooks['checkpointed'],
) =>
  app.process.operate('checkpoint', own, (inner) =>
    checkpointWithControl(app.process, store, COMMAND, inner, checkpointed),
  );
const plain = (app: FakeApplication, store: Store) =>
  app.process.operate('checkpoint', contextOf(), (inner) => checkpoint(app.process, store, COMMAND, inner));

/** It runs, with its memory as it was, and is followed as before. */
async function expectRunning(app: FakeApplication, store: Store, memory: ReadonlyMap<number, Uint8Array>) {
  expect(app).toMatchObject({ held: false, detached: false, killed: false });
  expect(app.driver.at).toBe('running');
  expect(app.process).toMatchObject({ state: 'running', control: { phase: 'attached' } });
  for (const [own, bytes] of memory) expect(Buffer.compare(app.memory(own), bytes), `allocation ${own}`).toBe(0);
  const [data] = app.allocations.values();
  app.launch('stir_part', 4, 128, [data!, 0, 512, 9]);
  const { manifest } = await plain(app, store);
  const plan = await store.restorePlan(manifest.id);
  try {
    for (const own of app.allocations.keys()) {
      const saved = new Uint8Array(app.memory(own).length);
      await plan.read(app.process.storeId({ number: own }), 0, saved.length, saved);
      expect(Buffer.compare(saved, app.memory(own)), `saved allocation ${own}`).toBe(0);
    }
  } finally {
    plan.close();
  }
}

describe('suspend', () => {
  it('takes everything off the device, and resume brings it back', async () => {
    const { app } = started();
    const store = await memoryStore();
    const memory = app.snapshot();
    const result = await suspended(app, store);
    expect(result.warning).toBeUndefined();
    expect(app.driver.steps).toEqual(['lock', 'checkpoint']);
    expect(app.driver.at).toBe('checkpointed');
    expect(stepsOf(result.timings)).toEqual(['detach', 'lock', 'checkpoint', 'checkpointed']);
    // Nobody holds a descriptor of the memory any more.
    for (const handle of app.process.custody.handles.keys())
      expect(app.process.custody.descriptorOf(handle)).toBeUndefined();
    await expect(plain(app, store)).rejects.toThrow(/is suspended/);
    const back = await resumed(app, store);
    expect(back).toMatchObject({ id: result.manifest.id, handles: 2, bytes: 3 * MIB });
    expect(app.driver.steps).toEqual(['lock', 'checkpoint', 'restore', 'unlock']);
    await expectRunning(app, store, memory);
  });

  it('leaves the context where it is when asked to', async () => {
    const { app } = started();
    const store = await memoryStore();
    const memory = app.snapshot();
    const result = await suspended(app, store, { keepContext: true });
    expect(result.warning).toBeUndefined();
    expect(app.detached).toBe(true);
    await resumed(app, store);
    expect(app.driver.steps).toEqual([]);
    await expectRunning(app, store, memory);
  });

  const REFUSALS: readonly [string, (app: FakeApplication) => void, RegExp][] = [
    ['is too old', (app) => (app.driver.at = 'unsupported'), /570 or newer/],
    ['has the process locked for somebody else', (app) => (app.driver.at = 'locked'), /has it locked already/],
    [
      'does not lock it',
      (app) => {
        app.driver.before = (action) => {
          if (action === 'lock') throw new Error('lock: CUDA_ERROR_NOT_READY');
        };
      },
      /could not lock.*NOT_READY/,
    ],
    [
      'does not checkpoint it',
      (app) => {
        app.driver.before = (action) => {
          if (action === 'checkpoint') throw new Error('checkpoint: CUDA_ERROR_NOT_SUPPORTED');
        };
      },
      /could not checkpoint.*NOT_SUPPORTED/,
    ],
  ];
  for (const [what, plant, warning] of REFUSALS)
    it(`says so when the driver ${what}, and frees the memory all the same`, async () => {
      const { app } = started();
      const store = await memoryStore();
      const memory = app.snapshot();
      plant(app);
      const result = await suspended(app, store);
      expect(result.warning).toMatch(warning);
      expect(app).toMatchObject({ held: true, detached: true });
      if (app.driver.steps.length > 0) expect(app.driver.at).toBe('running');
      app.driver.at = 'running';
      app.driver.before = () => {};
      await resumed(app, store);
      await expectRunning(app, store, memory);
    });

  it('is undone when the store fails after the control state has left', async () => {
    const { app } = started();
    const store = await memoryStore();
    const memory = app.snapshot();
    const abort = new AbortController();
    app.driver.after = (action) => {
      if (action === 'checkpoint') abort.abort();
    };
    await expect(suspended(app, store, {}, contextOf(undefined, abort.signal))).rejects.toThrow(/GCR8112/);
    expect(app.driver.steps).toEqual(['lock', 'checkpoint', 'restore', 'unlock']);
    expect((await store.list()).checkpoints).toHaveLength(0);
    await expectRunning(app, store, memory);
  });
});

describe('resume', () => {
  it('says how much memory is missing, takes none, and can be tried again', async () => {
    const { app } = started();
    const store = await memoryStore();
    const memory = app.snapshot();
    await suspended(app, store);
    let room = 1;
    app.onCreate = () => {
      if (room-- === 0) throw new Error('cuMemCreate: CUDA_ERROR_OUT_OF_MEMORY');
    };
    await expect(resumed(app, store)).rejects.toThrow(
      /GCR8114.*3\.1 MB.*needed, in 2 pieces, and 2\.1 MB could be had: .*OUT_OF_MEMORY/,
    );
    expect(app.process.state).toBe('suspended');
    expect(app.driver.at).toBe('checkpointed');
    for (const handle of app.process.custody.handles.keys())
      expect(app.process.custody.descriptorOf(handle)).toBeUndefined();
    app.onCreate = () => {};
    await resumed(app, store);
    await expectRunning(app, store, memory);
  });

  it('stays suspended, without memory, when the driver has no room for the control state', async () => {
    const { app } = started();
    const store = await memoryStore();
    const memory = app.snapshot();
    await suspended(app, store);
    app.driver.before = (action) => {
      if (action === 'restore') throw new Error('restore: CUDA_ERROR_OUT_OF_MEMORY');
    };
    await expect(resumed(app, store)).rejects.toThrow(/GCR8113.*restore.*OUT_OF_MEMORY/);
    expect(app.process.state).toBe('suspended');
    for (const handle of app.process.custody.handles.keys())
      expect(app.process.custody.descriptorOf(handle)).toBeUndefined();
    app.driver.before = () => {};
    await resumed(app, store);
    await expectRunning(app, store, memory);
  });

  it('does not ask the driver for a control state that has no room, and says what is missing', async () => {
    const { app } = started();
    const store = await memoryStore();
    const memory = app.snapshot();
    await suspended(app, store);
    app.driver.free = 10 << 20;
    await expect(resumed(app, store)).rejects.toThrow(/GCR8114.*needs 58\.7 MB of fake, of which 7\.3 MB are free/);
    expect(app.driver.steps).toEqual(['lock', 'checkpoint']);
    expect(app.process.state).toBe('suspended');
    app.driver.free = 1 << 30;
    await resumed(app, store);
    await expectRunning(app, store, memory);
  });

  it('does not fill again what was filled when only handing it over failed', async () => {
    const { app } = started();
    const store = await memoryStore();
    const memory = app.snapshot();
    await suspended(app, store);
    app.faults.set('attach', 'refuse');
    await expect(resumed(app, store)).rejects.toThrow(/GCR8108.*attach/);
    expect(app.process.state).toBe('suspended');
    app.faults.clear();
    app.onCreate = () => {
      throw new Error('memory was made again');
    };
    expect(await resumed(app, store)).toMatchObject({ id: null, bytes: 0 });
    await expectRunning(app, store, memory);
  });
});

describe('checkpoint with control state', () => {
  it('saves what is dirty beside the work of the driver', async () => {
    const { app, data } = started();
    const store = await memoryStore();
    await plain(app, store);
    app.launch('stir_part', 8, 256, [data, 3 * 16_384, 2048, 5]);
    const memory = app.snapshot();
    let copied = () => {};
    const whenCopied = new Promise<void>((resolve) => {
      copied = resolve;
    });
    // The driver waits for the copy to end, and the copy begins only after memory was unmapped: one beside the other or neither.
    app.driver.before = (action) => (action === 'checkpoint' ? whenCopied : undefined);
    const own = contextOf();
    const result = await withControl(app, store, {
      ...own,
      report: (report) => {
        if (report.step === 'copy' && report.done === report.total) copied();
        own.report(report);
      },
    });
    expect(result.manifest).toMatchObject({ kind: 'increment' });
    expect(result).toMatchObject({ dirtyChunks: 1 });
    const { timings } = result;
    expect(stepsOf(timings)).toEqual(['detach', 'lock', 'checkpoint', 'checkpointed', 'restore', 'unlock', 'attach']);
    expect(app.driver.steps).toEqual(['lock', 'checkpoint', 'restore', 'unlock']);
    await expectRunning(app, store, memory);
  });

  it('calls the hook when the control state is away, and undoes everything when it throws', async () => {
    const { app } = started();
    const store = await memoryStore();
    const memory = app.snapshot();
    const seen: string[] = [];
    await withControl(app, store, contextOf(), async () => {
      seen.push(app.driver.at, String(app.detached));
      return 'restore';
    });
    expect(seen).toEqual(['checkpointed', 'true']);
    await expectRunning(app, store, memory);
    const after = app.snapshot();
    const failing = withControl(app, store, contextOf(), async () => {
      throw new Error('planted');
    });
    await expect(failing).rejects.toThrow('planted');
    await expectRunning(app, store, after);
  });

  it('keeps what the control state leaves free from others', async () => {
    const { app } = started();
    const store = await memoryStore();
    const memory = app.snapshot();
    await withControl(app, store, contextOf(), async () => {
      // Another program takes all there is.
      app.driver.free = 0;
      return 'restore';
    });
    await expectRunning(app, store, memory);
    const free = app.driver.free;
    await withControl(app, store);
    expect(app.driver.free).toBe(free);
  });

  it('keeps nothing for a process that has ended while its control state was away', async () => {
    const { app } = started();
    const store = await memoryStore();
    const { free } = app.driver;
    const failing = withControl(app, store, contextOf(), async () => {
      expect(app.driver.free).toBeLessThan(free);
      app.end();
      throw new Error('planted');
    });
    await expect(failing).rejects.toThrow('planted');
    expect(app.driver.free).toBe(free + app.driver.controlBytes);
  });

  it('is refused before anything is stopped when the driver cannot', async () => {
    const { app } = started();
    const store = await memoryStore();
    app.driver.at = 'unsupported';
    await expect(withControl(app, store)).rejects.toThrow(/GCR8113.*570 or newer[\s\S]*nothing was stopped/);
    expect(app.requests).not.toContain('hold');
  });

  // The driver's word comes before the end of the process is noticed.
  for (const action of ['state', 'lock', 'checkpoint'] as const)
    it(`says that the process has ended when ${action} fails because of that`, async () => {
      const { app } = started();
      const fail = () => {
        setTimeout(() => app.end(), 5);
        throw new Error(`${action}: CUDA_ERROR_NOT_INITIALIZED`);
      };
      if (action === 'state') app.driver.state = async () => fail();
      else
        app.driver.before = (step) => {
          if (step === action) fail();
        };
      await expect(withControl(app, await memoryStore())).rejects.toThrow(/GCR8107.*process 4711 has ended/);
    });

  // The driver says no: before it has done anything, and when all is done.
  for (const when of ['before', 'after'] as const)
    for (const action of ['lock', 'checkpoint', 'restore', 'unlock'] as const)
      it(`loses nothing when ${action} fails ${when} it was done`, async () => {
        const { app } = started();
        const store = await memoryStore();
        const memory = app.snapshot();
        let left = 1;
        app.driver[when] = (step) => {
          if (step === action && left-- > 0) throw new Error(`${action}: CUDA_ERROR_UNKNOWN`);
        };
        const outcome = withControl(app, store);
        // What leads back is tried again; what leads away is undone.
        if (action === 'restore' || action === 'unlock') await outcome;
        else await expect(outcome).rejects.toThrow(new RegExp(`GCR8113.*${action}`));
        await expectRunning(app, store, memory);
      });

  it('keeps the process suspended, with its memory, while the driver cannot bring it back', async () => {
    const { app } = started();
    const store = await memoryStore();
    const memory = app.snapshot();
    app.driver.before = (action) => {
      if (action === 'restore') throw new Error('restore: CUDA_ERROR_OUT_OF_MEMORY');
    };
    const failed = withControl(app, store);
    await expect(failed).rejects.toThrow(/is suspended, because it could not be brought back: .*OUT_OF_MEMORY/);
    expect(app).toMatchObject({ held: true, detached: true });
    expect(app.process).toMatchObject({ state: 'suspended', suspendedAs: undefined });
    const told = () => statusOf(app.process, 'mem');
    expect(await told()).toMatchObject({ driver: 'checkpointed', problem: expect.stringMatching(/OUT_OF_MEMORY/) });
    expect((await store.list()).checkpoints).toHaveLength(0);
    await expect(resumed(app, store)).rejects.toThrow(/OUT_OF_MEMORY/);
    app.driver.before = () => {};
    expect(await resumed(app, store)).toMatchObject({ id: null, bytes: 0 });
    expect(await told()).toMatchObject({ state: 'running', driver: 'running', problem: null });
    await expectRunning(app, store, memory);
  });

  it('keeps the process suspended, with its memory, while it does not take that', async () => {
    const { app } = started();
    const store = await memoryStore();
    const memory = app.snapshot();
    app.faults.set('attach', 'refuse');
    await expect(withControl(app, store)).rejects.toThrow(/attach.*is suspended/);
    expect(app.driver.at).toBe('running');
    app.faults.clear();
    await resumed(app, store);
    await expectRunning(app, store, memory);
  });

  it('brings memory back when the recorder could unmap only a part', async () => {
    const { app } = started();
    const store = await memoryStore();
    const memory = app.snapshot();
    app.faults.set('detach', 'half');
    await expect(withControl(app, store)).rejects.toThrow(/GCR8108.*detach/);
    expect(app.driver.steps).toEqual([]);
    await expectRunning(app, store, memory);
  });

  it('ends a process that the driver has lost', async () => {
    const { app } = started();
    const store = await memoryStore();
    app.driver.before = (action) => {
      if (action !== 'restore') return;
      app.driver.at = 'failed';
      throw new Error('restore: CUDA_ERROR_UNKNOWN');
    };
    await expect(withControl(app, store)).rejects.toThrow(/GCR8113.*was ended: the driver has lost it/);
    expect(app.killed).toBe(true);
    expect(app.process.state).toBe('ended');
  });

  it('gives up on a driver that does not answer, and goes on when it does', async () => {
    const { app } = started();
    const store = await memoryStore();
    const memory = app.snapshot();
    let answer = () => {};
    app.driver.before = (action) =>
      action === 'lock' ? new Promise<void>((resolve) => (answer = resolve)) : undefined;
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const operation = withControl(app, store, contextOf());
    operation.catch(() => {});
    await vi.waitFor(() => expect(app.driver.steps).toEqual(['lock']));
    await vi.advanceTimersByTimeAsync(100_000);
    await expect(operation).rejects.toThrow(/did not lock process 4711 within 15 s.*is suspended.*late within 60 s/);
    vi.useRealTimers();
    expect(app.process.state).toBe('suspended');
    answer();
    await resumed(app, store);
    expect(app.driver.steps).toEqual(['lock', 'unlock']);
    await expectRunning(app, store, memory);
  });

  const STEPS = [
    'hold',
    'plan',
    'copy',
    'detach',
    'lock',
    'checkpoint',
    'restore',
    'unlock',
    'attach',
    'write',
    'commit',
  ];
  for (const step of STEPS) {
    it(`can be cancelled at ${step}`, async () => {
      const { app } = started();
      const store = await memoryStore();
      const memory = app.snapshot();
      const abort = new AbortController();
      const own = contextOf((told) => {
        if (told === step) abort.abort();
      }, abort.signal);
      await withControl(app, store, own).catch((error) => expect(String(error)).toMatch(/GCR8112|aborted/));
      await expectRunning(app, store, memory);
    });

    it(`ends when the application does, at ${step}`, async () => {
      const { app } = started();
      const store = await memoryStore();
      const { free } = app.driver;
      let struck = false;
      const own = contextOf((told) => {
        if (told === step) app.end();
        struck ||= told === step;
      });
      // Copied aside, a checkpoint needs the application no more.
      await withControl(app, store, own).catch((error) => expect(String(error)).toMatch(/GCR8107|GCR8105/));
      expect(struck).toBe(true);
      expect(app.process).toMatchObject({ state: 'ended', operation: undefined });
      // Nothing is kept for it.
      expect(app.driver.free).toBeGreaterThanOrEqual(free);
    });
  }
});

describe('a process that was taken over', () => {
  it('is given room for a context when nobody has seen what it needs', async () => {
    const { app } = started();
    const store = await memoryStore();
    const memory = app.snapshot();
    await suspended(app, store);
    const { free } = app.driver;
    app.process.control.takenOver();
    app.driver.free = 530 << 20;
    await expect(resumed(app, store)).rejects.toThrow(/GCR8114.*needs 671\.1 MB/);
    app.driver.free = free;
    await resumed(app, store);
    await expectRunning(app, store, memory);
  });

  for (const at of ['running', 'locked', 'checkpointed', 'unsupported'] as const)
    it(`is brought back from ${at}`, async () => {
      const { app } = started();
      const store = await memoryStore();
      const memory = app.snapshot();
      await plain(app, store);
      const own = contextOf();
      await app.process.hold(own);
      await withControlState(app.process, own, { checkpointed: async () => 'stay' });
      app.driver.at = at === 'unsupported' ? 'running' : at;
      if (at === 'unsupported') app.driver.state = async () => 'unsupported';
      app.process.control.takenOver();
      await app.process.release();
      await expectRunning(app, store, memory);
    });
});
