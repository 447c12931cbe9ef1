import { describe, expect, it } from 'vitest';
import type { BridgeOptions } from '../../src/runtime/bridge-options.js';
import { EventBridge } from '../../src/runtime/event-bridge.js';
import { LAUNCH_INCOMPLETE, type LaunchEvent, type RecordedEvent } from '../../src/runtime/events.js';
import type { ModuleImages } from '../../src/runtime/module-images.js';

const BASE = 0x7f00_0000_0000n;

/** A bridge that knows no module, with one allocation. */
function bridgeOfOne(options: BridgeOptions = {}): EventBridge {
  const modules = { find: () => 'absent', gone: () => {} } as unknown as ModuleImages;
  const bridge = new EventBridge(modules, options);
  push(bridge, 'alloc', { allocation: 1, address: BASE, size: 4096, handle: 1, offset: 0, kind: 0, saveable: 1 });
  return bridge;
}

function push(bridge: EventBridge, name: RecordedEvent['name'], body: object): void {
  bridge.push({ name, flags: 0, stream: 0, body } as RecordedEvent);
  bridge.pump();
}

const launch: LaunchEvent['body'] = {
  function: 5,
  grid: [1, 1, 1],
  block: [1, 1, 1],
  cluster: [0, 0, 0],
  sharedMemory: 0,
  call: 0,
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

  it('takes what has no arguments to look at as a write to all memory, whatever unknown launches count for', () => {
    const all = [{ from: BASE, to: BASE + 4096n }];
    const incomplete = { name: 'launch', flags: LAUNCH_INCOMPLETE, stream: 0, body: launch } as const;
    const told: readonly (readonly [RecordedEvent, typeof all])[] = [
      [{ ...incomplete, flags: 0 }, []],
      [incomplete, all],
      [{ name: 'wrote', flags: 0, stream: 0, body: { address: 0n, size: 0n, reason: 'planted' } }, all],
      [{ name: 'graph-launch', flags: 0, stream: 0, body: { exec: 7 } }, all],
    ];
    for (const [event, written] of told) {
      const bridge = bridgeOfOne({ unknown: 'args' });
      const mark = bridge.dirty.mark();
      bridge.push(event);
      bridge.pump();
      expect(bridge.dirty.since(mark).get('unknown')).toEqual(written);
    }
  });

  it('waits for the image of a module that was told', () => {
    const bridge = bridgeOfOne();
    push(bridge, 'function', { function: 5, module: 3, parameterBytes: 8, layout: [], name: 'loaded' });
    push(bridge, 'launch', launch);
    expect(bridge.waiting).toBe(1);
  });
});
