/**
 * A recorder and clients that lie. A session follows from its seed: messages and events of the right form with numbers, places and orders of no
 * recorder, some with bytes changed, into a supervised process without a machine below it; and bytes of any kind into a control socket. What
 * must hold: nothing throws, descriptors are all closed in the end, operations end with an error that says what is wrong, and a
 * socket's other clients are answered.
 */
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { Random, seedOf } from '../judge/random.mjs';

const KERNEL = `.version 8.0
.target sm_70
.address_size 64
.visible .global .align 8 .u64 g;
.visible .entry k(.param .u64 p, .param .u32 n) {
  .reg .b64 %rd<3>; .reg .b32 %r<2>;
  ld.param.u64 %rd1, [p]; ld.param.u32 %r1, [n];
  cvta.to.global.u64 %rd2, %rd1; st.global.u32 [%rd2], %r1;
  ret;
}`;

/** Templates of the kernel, made once. */
let built;

/** What a machine gives, without one: counts descriptors that are not closed yet. */
class Machine {
  open = new Set();
  next = 10;

  descriptor() {
    const fd = this.next++;
    this.open.add(fd);
    return fd;
  }

  parts(drain) {
    const memory = { close: () => {} };
    const arena = {
      slots: 0,
      grow: async () => {},
      view: (_, count) => new Uint8Array(count * 65_536),
      close: () => {},
    };
    const names = async (spans) =>
      new Uint8Array(16 * spans.reduce((sum, { bytes }) => sum + Math.ceil(bytes / 65_536), 0));
    return {
      openRing: () => ({ drain, consumed: 0, close: () => {} }),
      openDevice: async () => ({
        import: async () => memory,
        create: async () => ({ memory, fd: this.descriptor() }),
        namesOnDevice: true,
        names,
        save: async () => {},
        load: async () => {},
        close: () => {},
      }),
      createArena: async () => arena,
      createBuffer: () => {
        const fd = this.descriptor();
        return { fd, read: (target) => target.fill(2), write: () => {}, close: () => this.open.delete(fd) };
      },
      closeFd: (fd) => this.open.delete(fd),
    };
  }
}

class Hostile {
  live = new Map();
  fresh = 1;

  constructor(random) {
    this.random = random;
    /** How often it is wild; what a recording that contradicts itself says afterwards is not looked at. */
    this.share = random.pick([0, 0.003, 0.03, 0.3]);
  }

  wild() {
    return this.random.chance(this.share);
  }

  /** Numbers that collide, and wild ones at the ends. */
  number() {
    return this.wild() ? this.random.pick([0, 0xffffffff, Number.MAX_SAFE_INTEGER]) : 1 + this.random.below(4);
  }

  size() {
    if (this.wild()) return this.random.pick([0, 2 ** 40, Number.MAX_SAFE_INTEGER]);
    return this.random.pick([1, 8, 16, 4096, 65_536, 65_537, 1 << 20]);
  }

  address() {
    const { random } = this;
    if (this.wild()) return random.pick([0n, (1n << 47n) - 4096n, (1n << 64n) - 4096n, (1n << 64n) - 1n]);
    const near = random.pick([...this.live.values()]) ?? 0x7f0000000000n;
    return near + BigInt(random.pick([0, 0, 0, 1, 16, 4095]));
  }

  place() {
    const width = this.random.pick([1, 16, 4096, this.wild() ? 2 ** 31 : 64]);
    const pitch = this.wild() ? this.size() : width;
    const [height, depth] = this.wild() ? [this.random.below(4), this.random.below(3)] : [1 + this.random.below(3), 1];
    return { address: this.address(), pitch, width, height, depth, slicePitch: pitch * height };
  }

  /** A number and a place of an allocation, free ones unless it is wild. */
  newAllocation() {
    const number = this.wild() ? this.number() : this.fresh++;
    const address = this.wild() ? this.address() : 0x7f0000000000n + BigInt(this.fresh++ * (2 << 20));
    this.live.set(number, address);
    return { number, address };
  }

  oneOf(live) {
    return this.wild() || live.size === 0 ? this.number() : this.random.pick([...live.keys()]);
  }

  triple() {
    return [0, 0, 0].map(() => (this.wild() ? this.random.pick([0, 1024, 0xffffffff]) : 1 + this.random.below(3)));
  }

  bytes(limit) {
    return this.random.fill(new Uint8Array(this.random.below(limit)));
  }

  text() {
    return this.random.pick(['', 'k', 'g', '__proto__', 'ä', 'x'.repeat(500)]);
  }

  body(name, depth = 0) {
    const { random } = this;
    switch (name) {
      case 'module':
      case 'module-gone':
        return { module: this.number() };
      case 'function': {
        const layout = random.chance(0.6)
          ? [
              { offset: 0, size: 8 },
              { offset: 8, size: 4 },
            ]
          : [{ offset: this.size() % 2 ** 32, size: 8 }];
        const parameterBytes = this.wild() ? random.pick([0, 5, 0xffffffff]) : 12;
        return {
          function: this.number(),
          module: this.number(),
          parameterBytes,
          layout,
          name: random.chance(0.6) ? 'k' : this.text(),
        };
      }
      case 'variable': {
        const allocation = this.oneOf(this.live);
        const address = (this.wild() ? undefined : this.live.get(allocation)) ?? this.address();
        return { module: this.number(), address, size: this.size(), allocation, name: this.text() };
      }
      case 'alloc': {
        const { number, address } = this.newAllocation();
        const [kind, saveable] = [this.wild() ? 6 + random.below(3) : random.below(3), this.wild() ? 0 : 1];
        const [handle, offset] = random.chance(0.5) ? [0, 0] : [this.number(), this.wild() ? this.size() : 0];
        return { allocation: number, address, size: this.size(), handle, offset, kind, saveable };
      }
      case 'free': {
        if (this.live.size === 0 && !this.wild()) throw new Error('nothing to free');
        const allocation = this.oneOf(this.live);
        this.live.delete(allocation);
        return { allocation };
      }
      case 'launch': {
        const parameters = new Uint8Array(12);
        new DataView(parameters.buffer).setBigUint64(0, this.address(), true);
        if (this.wild()) this.random.fill(parameters);
        return {
          function: this.number(),
          grid: this.triple(),
          block: this.triple(),
          cluster: [0, 0, 0],
          sharedMemory: 0,
          parameters: this.wild() ? this.bytes(40) : parameters,
        };
      }
      case 'memset': {
        const { address, pitch, width, height } = this.place();
        return { address, pitch, width, height, value: random.below(256), element: random.pick([1, 2, 4]) };
      }
      case 'copy-in': {
        const target = { ...this.place(), ...(this.wild() ? {} : { height: 1 }) };
        return {
          target,
          content: random.chance(0.3) ? new Uint8Array(0) : this.wild() ? this.bytes(40) : new Uint8Array(target.width),
        };
      }
      case 'copy':
        return { target: this.place(), source: this.address() };
      case 'wrote':
        return { address: this.address(), size: BigInt(this.size()), reason: this.text() };
      case 'graph': {
        const nodes = Array.from({ length: random.below(4) }, () =>
          this.event(random.pick(['launch', 'memset', 'copy', 'wrote']), depth + 1),
        );
        return { exec: this.number(), count: this.wild() ? 7 : nodes.length, nodes };
      }
      case 'graph-launch':
      case 'graph-gone':
        return { exec: this.number() };
      case 'ordered':
        return {};
      case 'stopped':
        return { reason: this.text() };
      case 'wait':
        return { stream: this.number() };
      case 'tensor-map':
        return {
          address: this.address(),
          kind: this.random.below(this.wild() ? 9 : 4),
          dataType: this.random.below(20),
          rank: this.random.below(this.wild() ? 99 : 6),
          interleave: this.random.below(3),
          swizzle: 0,
          sizes: Array.from({ length: 5 }, () => this.address()),
          strides: Array.from({ length: 4 }, () => BigInt(this.size())),
          box: Array.from({ length: 5 }, () => this.random.below(300)),
          steps: Array.from({ length: 5 }, () => this.random.below(9)),
          map: new Uint8Array(128).fill(this.random.below(3)),
          from: new Uint8Array(128).fill(this.random.below(3)),
        };
      default:
        throw new Error(name);
    }
  }

  event(name, depth = 0) {
    const stream = this.random.below(6);
    const flags =
      name === 'stopped' && !this.wild() ? 0 : this.random.below(name === 'ordered' ? 2 : this.wild() ? 4 : 1);
    return { name, flags, stream, body: this.body(name, depth) };
  }

  /** Changes bytes now and then. */
  spoil(bytes) {
    if (this.wild())
      for (let left = 1 + this.random.below(3); left > 0; left--)
        bytes[this.random.below(bytes.length)] = this.random.below(256);
    return bytes;
  }
}

const EVENTS = [
  ...['module', 'function', 'function', 'alloc', 'alloc', 'alloc', 'free', 'launch', 'launch', 'launch', 'variable'],
  ...[
    'memset',
    'copy-in',
    'copy',
    'wrote',
    'graph',
    'graph-launch',
    'graph-gone',
    'ordered',
    'wait',
    'tensor-map',
    'module-gone',
  ],
];
const MESSAGES = { image: 1, handle: 1, 'handle-gone': 0, stopped: 0, reply: 0, hello: 2, hold: 0 };

/**
 * A recorder that lies, to a supervised process.
 *
 * @param library what is taken out of it below, what was built or the sources
 * @returns what is wrong; empty when nothing is
 */
export async function playRecorder(library, seed) {
  const {
    SupervisedProcess,
    RecorderLink,
    encodeMessage,
    encodeEvent,
    checkpoint,
    Store,
    InputError,
    buildTemplatesFromImage,
    PackedTemplates,
    packTemplates,
    StagingPool,
    HostImages,
    HostMemory,
  } = library;
  const random = new Random(seedOf(`recorder ${seed}`));
  const hostile = new Hostile(random);
  const machine = new Machine();
  const wrong = [];
  let ring = [];
  const drain = () => {
    const all = Buffer.concat(ring);
    ring = [];
    return all;
  };
  let link;
  let ended = false;
  const answers = [];
  const connection = {
    send: (bytes, fds = []) => answers.push({ bytes, fds }),
    close: () => {
      ended = true;
    },
  };
  const hello = {
    version: 1,
    pid: 4711,
    startTime: 1n,
    ringBytes: 1 << 22,
    driver: 13000,
    devices: [{ uuid: new Uint8Array(16), memory: 1 << 30, name: '', architecture: 90 }],
  };
  const builder = {
    templates: (_file, _user, named) => {
      named('00'.repeat(32));
      built ??= buildTemplatesFromImage(Buffer.from(KERNEL), 'image').then(
        ({ product }) => new PackedTemplates(packTemplates(product)),
      );
      return built;
    },
    templatesOf: async () => new PackedTemplates(packTemplates({ modules: [], kernels: [], missing: [] })),
  };
  const parts = machine.parts(drain);
  const process = new SupervisedProcess(hello, [0, 1], {
    parts,
    builder,
    staging: new StagingPool(parts.createArena),
    images: new HostImages(new HostMemory(parts.createArena, 1 << 20)),
    onEnd: () => {},
    kill: () => {},
  });
  link = new RecorderLink(connection, process);
  process.attachLink(link);
  const message = (name) => {
    const fields = {
      module: hostile.number(),
      handle: hostile.number(),
      size: hostile.size(),
      device: random.below(3),
      kind: random.below(5),
    };
    const more = {
      reason: hostile.text(),
      status: random.below(2),
      message: '',
      result: hostile.bytes(10),
      deadlineMs: 1,
    };
    const packet = encodeMessage(
      name,
      { ...hello, ...fields, ...more },
      name === 'reply' || hostile.wild() ? BigInt(1 + random.below(3)) : undefined,
    );
    const count = hostile.wild() ? random.below(3) : MESSAGES[name];
    packet.writeUInt16LE(count, 6);
    link.message(
      hostile.spoil(packet),
      Array.from({ length: count }, () => machine.descriptor()),
    );
  };
  let what = '';
  try {
    // A beginning that makes sense in most sessions, so that what follows is looked at.
    if (random.chance(0.8)) message('image');
    for (let left = 60; left > 0 && !ended; left--) {
      if (random.chance(0.15)) {
        what = hostile.wild()
          ? random.pick(Object.keys(MESSAGES))
          : random.pick(['image', 'handle', 'handle', 'handle-gone', 'reply']);
        message(what);
      } else {
        what = random.pick(EVENTS);
        let bytes;
        try {
          bytes = encodeEvent(hostile.event(what));
        } catch {
          continue; // no event of this form can be written
        }
        ring.push(hostile.spoil(bytes));
        if (random.chance(0.3)) process.drain();
        if (random.chance(0.1)) await new Promise((resolve) => setImmediate(resolve));
      }
    }
    what = 'checkpoint';
    process.drain();
    const total = [...process.bridge.allocations.values()].reduce((sum, { size }) => sum + size, 0);
    if (total < 1 << 24 && !ended) {
      const store = await Store.open({ memory: `fuzz-${seed}` }, { create: true }).catch(() => undefined);
      const abort = new AbortController();
      // Nobody answers a hold.
      const run = process.operate('checkpoint', { report: () => {}, signal: abort.signal }, (context) =>
        checkpoint(process, store, { command: ['fuzz'] }, context),
      );
      setImmediate(() => link.closed());
      await run.catch((error) => {
        if (!(error instanceof InputError)) throw error;
      });
      store?.close();
    }
  } catch (error) {
    wrong.push(`recorder, seed ${seed}: ${what}: ${error.stack ?? error}`);
  }
  link.closed();
  // What a message brought is the supervisor's to close, whether it liked it or not.
  if (machine.open.size > 0) wrong.push(`recorder, seed ${seed}: ${machine.open.size} descriptors are left open`);
  return wrong;
}

/**
 * Clients that lie, to a control socket beside one that does not.
 *
 * @param library `{ ControlServer }`
 */
export async function playClients(library, folder, seed) {
  const { ControlServer } = library;
  const random = new Random(seedOf(`clients ${seed}`));
  const wrong = [];
  const path = join(folder, `${seed}.sock`);
  const asked = [];
  const server = await ControlServer.listen(path, async (request) => {
    asked.push(request);
    return { operation: request.operation };
  });
  const line = () => {
    const operation = random.pick(['status', 'checkpoint', 'restore', 'resume', '__proto__', 'constructor', 7, null]);
    const request = { version: random.pick([1, 1, 1, 2, '1']), number: random.pick([1, 2, 1e300, -1, 'x']), operation };
    if (random.chance(0.5))
      request[random.pick(['id', 'full', 'verify', 'note', 'x', '__proto__'])] = random.pick([
        true,
        1,
        'x',
        'y'.repeat(5000),
        null,
        {},
        [],
      ]);
    const text = random.pick([
      JSON.stringify(request),
      JSON.stringify(request),
      '',
      '[]',
      'null',
      '{',
      '"',
      '9'.repeat(400),
      String.fromCharCode(random.below(65_536)),
    ]);
    return random.chance(0.03) ? 'x'.repeat(70_000) : text;
  };
  const liar = () =>
    new Promise((resolve) => {
      let answer = '';
      const socket = createConnection(path, () => {
        for (let left = 1 + random.below(6); left > 0; left--) socket.write(`${line()}\n`);
        socket.write(random.chance(0.5) ? random.fill(Buffer.alloc(random.below(300))) : 'rest');
        if (random.chance(0.3)) socket.destroy();
        else socket.end();
      });
      socket.on('data', (piece) => {
        answer += piece;
      });
      socket.on('error', () => {});
      socket.on('close', () => resolve(answer));
    });
  try {
    for (const answer of await Promise.all(Array.from({ length: 8 }, liar)))
      for (const text of answer.split('\n').slice(0, -1)) {
        const { kind, diagnostics } = JSON.parse(text);
        if (kind !== 'result' && !(kind === 'error' && diagnostics[0].code === 'GCR8101'))
          wrong.push(`clients, seed ${seed}: answer ${text}`);
      }
    for (const { operation, ...members } of asked) {
      const fits = operation === 'restore' ? typeof members.id === 'string' : true;
      if (!fits || !['status', 'checkpoint', 'suspend', 'resume', 'restore'].includes(operation))
        wrong.push(`clients, seed ${seed}: ${operation} was passed on`);
    }
    const honest = await new Promise((resolve, reject) => {
      const socket = createConnection(path, () => socket.write('{"version":1,"number":5,"operation":"status"}\n'));
      socket.once('data', (piece) => {
        socket.destroy();
        resolve(String(piece));
      });
      socket.once('error', reject);
    });
    if (honest !== '{"number":5,"kind":"result","result":{"operation":"status"}}\n')
      wrong.push(`clients, seed ${seed}: the honest one got ${honest}`);
  } catch (error) {
    wrong.push(`clients, seed ${seed}: ${error.stack ?? error}`);
  } finally {
    server.close();
  }
  return wrong;
}
