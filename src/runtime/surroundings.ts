/** What an application was started with under supervision, read from its environment: it says where its recorder looks for supervisors. */
import { readFileSync } from 'node:fs';
import { RuntimeError } from './errors.js';

/** What a supervised process was started with. */
export interface Surroundings {
  /** The socket of its first supervisor. */
  readonly socket: string;
  readonly store: string | undefined;
  readonly driver: string | undefined;
  readonly simulatedDevice: string | undefined;
}

/** @throws RuntimeError GCR8102 */
export function surroundingsOf(pid: number): Surroundings {
  const missing = (why: string) =>
    new RuntimeError('not-found', 'GCR8102', `process ${pid} ${why}`, '`gcr-templates run` starts one that can be');
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/environ`, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw missing(code === 'ENOENT' ? 'does not exist' : `cannot be looked at: ${message}`);
  }
  const values = new Map(
    text.split('\0').map((entry) => [entry.split('=', 1)[0]!, entry.slice(entry.indexOf('=') + 1)]),
  );
  const socket = values.get('GCR_SOCKET');
  if (!socket) throw missing('was not started under supervision');
  return {
    socket,
    store: values.get('GCR_STORE') || undefined,
    driver: values.get('GCR_DRIVER') || undefined,
    simulatedDevice: values.get('GCR_SIM_SOCKET') || undefined,
  };
}
