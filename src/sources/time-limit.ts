/** Ends synchronous work of a library that hostile input can keep busy: V8's watchdog stops it wherever it is. */
import { createContext, Script } from 'node:vm';

const context = createContext({});
const script = new Script('run()');

/**
 * Runs something.
 *
 * @param milliseconds the time it may take
 * @throws whatever it throws, or an error of code ERR_SCRIPT_EXECUTION_TIMEOUT when it takes longer
 */
export function withinTime(run: () => void, milliseconds: number): void {
  context['run'] = run;
  script.runInContext(context, { timeout: Math.ceil(milliseconds) });
}
