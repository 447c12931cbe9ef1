/**
 * A command that supervises goes on in the background: in a session of its own, so that the end of a terminal is none of its business. It says
 * one line on its standard output when its work has begun; everything that it says on standard error until then is passed on.
 */
import { spawn } from 'node:child_process';
import { EXIT, type ExitCode } from './exit-codes.js';

export interface Started {
  readonly code: ExitCode;
  /** What it said when its work had begun; absent when it ended before. */
  readonly line?: string;
}

/** @param args of `gcr-templates`, without `--background` */
export function startInBackground(args: readonly string[]): Promise<Started> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [process.argv[1]!, ...args], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let text = '';
    child.stderr.on('data', (piece: Buffer) => process.stderr.write(piece));
    child.stdout.setEncoding('utf8').on('data', (piece: string) => {
      text += piece;
      const end = text.indexOf('\n');
      if (end < 0) return;
      child.unref();
      child.stdout.destroy();
      child.stderr.destroy();
      resolve({ code: EXIT.ok, line: text.slice(0, end) });
    });
    child.once('error', reject);
    child.once('close', (code) => resolve({ code: (code ?? EXIT.internal) as ExitCode }));
  });
}
