/** The programs that scenarios have in common, and the host memory reserved for them. */
import { join } from 'node:path';
import { app, ROOT } from './programs.mjs';

/** The Llama-shaped model in PyTorch, paced; `bench.python` is there. */
export const llama = ({ python, quick }, ...options) => [
  python,
  join(ROOT, 'bench/gpu/llama.py'),
  '--pace',
  ...(quick ? ['--small'] : []),
  ...options,
];

/** The program that holds memory, in 48 buffers as a model's layers would be. @param mib in all; each step writes `permille` of it */
export const holder = (mib, permille = 10) => {
  const buffers = Math.min(48, Math.max(1, mib >> 1));
  return [
    app('holder'),
    '--pace',
    '--steps',
    '1000000',
    '--size',
    '16',
    '--mib',
    String(mib),
    '--buffers',
    String(buffers),
    '--permille',
    String(permille),
  ];
};

/** Options of `run` that reserve host memory for checkpoints beforehand, as one does who wants them quick. */
export const hostMemory = (mib) => ['--host-memory', `${Math.ceil(mib / 64) * 64 + 64}M`];
