/** What recording costs the model as it is trained: a scenario of its own, because it takes its time. */
import { torch } from '../recording.mjs';

const TRAINING = {
  pairs: 4,
  isChecked: false,
  modes: [{ mode: 'train', steps: 3, what: 'training step, AdamW', turns: { between: 2, within: 8 } }],
};

export async function run(bench) {
  if (!bench.python) return bench.skip('no PyTorch with a GPU');
  await torch(bench, TRAINING);
}
