import { existsSync } from 'node:fs';
import { configDefaults, defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** What cannot run without the native part, which is built apart (`scripts/build-native.mjs`). */
const NEEDS_NATIVE = [
  'test/checkpoint/**',
  'test/native/**',
  'test/runtime/**',
  'test/simdevice/**',
  'test/cli/store.test.ts',
  'test/examples/read-checkpoint.test.ts',
];
/** Tests that start process after process: they take minutes, though their files are small, and are not to be the last ones that run. */
const LONG = /\/test\/(bench|checkpoint|cli|runtime|simdevice)\//;

class LongOnesFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    return [true, false].flatMap((long) => sorted.filter(({ moduleId }) => LONG.test(moduleId) === long));
  }
}

const isBuilt = existsSync(new URL('build/native/gcr_native.node', import.meta.url));
if (!isBuilt)
  console.error(
    'the native part is not built: tests of the store, the runtime and the simulated device are left out. ' +
      '`npm run build:native` builds it; it needs cmake 3.20 or later and a C++20 compiler.',
  );

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: [...configDefaults.exclude, ...(isBuilt ? [] : NEEDS_NATIVE)],
    sequence: { sequencer: LongOnesFirst },
    // Against what hangs; a busy machine takes its time.
    testTimeout: 180_000,
    hookTimeout: 180_000,
  },
});
