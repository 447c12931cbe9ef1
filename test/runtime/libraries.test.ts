/**
 * A program that calls documented libraries, whose kernels have no template that says anything: its launches count with the libraries' contracts,
 * nothing is missed, and a library that does not keep to its contract is found and named.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bench, isBuilt, type Program } from './supervised.js';

interface Saved {
  readonly manifest: {
    readonly kind: string;
    readonly launches: Record<string, number>;
    readonly origins: Record<string, number>;
    readonly chunks: { readonly changed: number };
    readonly kernels: readonly { readonly name: string; readonly bytes: number }[];
  };
  readonly missedCount: number;
  readonly missed: readonly { readonly kernels: readonly string[] }[];
}

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

const checkpoint = (program: Program, ...options: string[]): Saved =>
  bench.json('checkpoint', '--pid', String(program.pid), ...options) as Saved;

describe.skipIf(!isBuilt)('calls of documented libraries', () => {
  it('dirty what their documentation says, in graphs and groups too', async () => {
    const program = await bench.start('libraries', ['--steps', '8']).ready();
    checkpoint(program);
    for (let step = 0; step < 4; step++) {
      await program.step();
      const { manifest, missedCount } = checkpoint(program, '--verify');
      expect(manifest.kind).toBe('increment');
      expect(missedCount).toBe(0);
      // A product, a scaling, a product of the light library, a group of two, one outside of groups, and the graph's.
      expect(manifest.launches).toMatchObject({ contract: 6, unknown: 0 });
      expect(manifest.origins).toMatchObject({ unknown: 0 });
    }
    const { manifest } = checkpoint(program, '--verify');
    expect(manifest.chunks.changed).toBe(0);
  });

  it('dirty nothing else: outputs, the workspace that is set, and what the library allocated itself', async () => {
    const program = await bench.start('libraries', ['--steps', '4']).ready();
    await program.step();
    checkpoint(program);
    await program.step();
    const { manifest } = checkpoint(program);
    const bytes = Object.fromEntries(
      manifest.kernels.filter(({ name }) => name.includes(': ')).map((kernel) => [kernel.name, kernel.bytes]),
    );
    const workspace = 16_384;
    // What a stand-in allocates; the two of one family count together.
    const own = 16_384 + 8_192;
    expect(bytes).toEqual({
      // Called, and in a graph that was captured before there was a workspace.
      'cublasSgemm_v2: through_table': 4 * 300 * 7 + workspace + 2 * own + 4 * 500 * 3 + 2 * own,
      'cublasSscal_v2: through_table': 4 * 1000 + workspace + 2 * own,
      'cublasLtMatmul: through_table': 4 * 200 * 5 + 4 * 200 + workspace + 2 * own,
      'ncclGroupEnd: through_table': 2 * 4 * 1000 + own,
      'ncclAllReduce: through_table': 4 * 500 + own,
    });
  });

  it('that write more are found, with the contract that was broken', async () => {
    bench.environment['GCR_TEST_LIE'] = '1';
    const program = await bench.start('libraries', ['--steps', '4']).ready();
    checkpoint(program);
    await program.step();
    const answer = bench.command('checkpoint', '--pid', String(program.pid), '--verify', '--json');
    const { missedCount, missed } = JSON.parse(answer.stdout) as Saved;
    expect(missedCount).toBe(1);
    expect(missed[0]!.kernels).toContain('cublasSscal_v2: through_table');
  });
});
