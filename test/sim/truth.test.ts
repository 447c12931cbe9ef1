/**
 * What a real GPU wrote, against execution: every byte that changed there must be one that the execution writes. Contents
 * were random there and are other noise here, so kernels of which the written places depend on data are not in the record.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type CompiledKernel, DeviceMemory } from '../../src/sim/index.js';
import { fixture, ROOT } from './helpers.js';

interface Recorded {
  readonly file: string;
  readonly kernel: string;
  readonly grid: [number, number, number];
  readonly block: [number, number, number];
  readonly sharedMemory: number;
  readonly parameters: string;
  readonly written: readonly (readonly [address: string, bytes: number])[];
}

const { launches } = JSON.parse(readFileSync(join(ROOT, 'fixtures/truth/h200.json'), 'utf8')) as {
  launches: Recorded[];
};

/** Refused by name: a call that is not expanded, and the layout of a tensor map. */
const REFUSED: ReadonlySet<string> = new Set(['k_pure', 'k_map_replace']);

function execute(kernel: CompiledKernel, launch: Recorded): DeviceMemory {
  const memory = new DeviceMemory();
  const parameters = new Uint8Array(Buffer.from(launch.parameters, 'hex'));
  const variables = kernel.program.objects.filter(({ space }) => space === 'global' || space === 'constant');
  const symbols = new Map(variables.map(({ name }, index) => [name, BigInt((index + 1) << 24)]));
  kernel.launch({ ...launch, parameters, memory, symbols, outOfRange: 'ignore', maxSteps: 1e8 });
  return memory;
}

describe('launches recorded on a GPU', () => {
  const sums = { launches: 0, equal: 0 };
  for (const file of new Set(launches.map((launch) => launch.file))) {
    it(`${file}: writes all that changed there`, () => {
      for (const launch of launches) {
        if (launch.file !== file) continue;
        const kernel = fixture(file, launch.kernel);
        if (REFUSED.has(launch.kernel)) {
          expect(() => execute(kernel, launch)).toThrow('GCR6003');
          continue;
        }
        const written = execute(kernel, launch).written();
        const missed = launch.written
          .map(([address, bytes]) => ({ from: BigInt(address), to: BigInt(address) + BigInt(bytes) }))
          .filter(({ from, to }) => !written.some((range) => range.from <= from && to <= range.to));
        expect(missed, `${launch.kernel} ${launch.grid} ${launch.block} ${launch.parameters}`).toEqual([]);
        const told = written.reduce((sum, { from, to }) => sum + Number(to - from), 0);
        const recorded = launch.written.reduce((sum, [, bytes]) => sum + bytes, 0);
        sums.launches++;
        if (told === recorded) sums.equal++;
      }
    });
  }

  it('were many, and most wrote exactly the same bytes', () => {
    expect(sums.launches).toBeGreaterThan(600);
    expect(sums.equal).toBeGreaterThan(500);
  });
});
