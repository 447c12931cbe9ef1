/** Checkpoints of training that leaves most of a model as it is; see training.mjs. */
import { trained } from './training.mjs';

export const run = (bench) => trained(bench, 'last', 'of the last layer');
