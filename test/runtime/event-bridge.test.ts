import { describe, expect, it } from 'vitest';
import { EventBridge } from '../../src/runtime/event-bridge.js';
import type { RecordedEvent } from '../../src/runtime/events.js';
import type { ModuleImages } from '../../src/runtime/module-images.js';

const BASE = 0x7f00_0000_0000n;

/** A bridge that knows no module, with one allocation. */
function bridgeOfOne(): EventBridge {
  const modules = { find: () => 'absent', gone: () => {} } as unknown as ModuleImages;
  const bridge = new EventBridge(modules);
  push(bridge, 'alloc', { allocation: 1, address: BASE, size: 4096, handle: 1, offset: 0, kind: 0, saveable: 1 });
  return bridge;
}

function push(bridge: EventBridge, name: RecordedEvent['name'], body: object): void {
  bridge.push({ name, flags: 0, stream: 0, body } as RecordedEvent);
  bridge.pump();
}

const launch = {
  function: 5,
  grid: [1, 1, 1],
  block: [1, 1, 1],
  cluster: [0, 0, 0],
  sharedMemory: 0,
  parameters: new Uint8Array(8),
};

describe('EventBridge', () => {
  it('takes a function of no known module as unknown, and does not wait for the module', () => {
    const bridge = bridgeOfOne();
    const mark = bridge.dirty.mark();
    push(bridge, 'function', { function: 5, module: 0, parameterBytes: 8, layout: [], name: 'captured' });
    push(bridge, 'graph', { exec: 1, count: 1, nodes: [{ name: 'launch', flags: 0, stream: 0, body: launch }] });
    expect(bridge.dirty.since(mark).get('unknown')).toEqual([]);
    push(bridge, 'graph-launch', { exec: 1 });
    expect(bridge.waiting).toBe(0);
    expect(bridge.dirty.since(mark).get('unknown')).not.toEqual([]);
    expect(bridge.statistics.byVerdict.unknown).toBe(1);
    expect(bridge.statistics.kernels).toMatchObject([{ name: 'captured', verdict: 'unknown', bytes: 4096 }]);
  });

  it('waits for the image of a module that was told', () => {
    const bridge = bridgeOfOne();
    push(bridge, 'function', { function: 5, module: 3, parameterBytes: 8, layout: [], name: 'loaded' });
    push(bridge, 'launch', launch);
    expect(bridge.waiting).toBe(1);
  });
});
