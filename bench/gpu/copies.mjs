/** What the bus gives, by a program of its own that copies pinned memory: gigabytes a second in each direction. */
import { execFileSync } from 'node:child_process';
import { app, SIM_DRIVER } from './programs.mjs';

/** `out` (device to host) and `in`: a sample each round. */
export function copyRates({ simulated, quick, rounds, log }) {
  log('pinned copies');
  const text = execFileSync(app('copies'), [quick ? '4' : '1024', String(rounds)], {
    encoding: 'utf8',
    env: simulated ? { ...process.env, LD_LIBRARY_PATH: SIM_DRIVER } : process.env,
  });
  const rates = { out: [], in: [] };
  for (const line of text.trim().split('\n')) {
    const [way, rate] = line.split(' ');
    rates[way].push(Number(rate));
  }
  return rates;
}
