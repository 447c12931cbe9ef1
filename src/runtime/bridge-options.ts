/** What a bridge is told by whoever starts a program; nothing here needs the bridge. */
import type { UnknownPolicy } from '../shadow/index.js';

/** Enough of them for a report to name every kernel of a loop. */
export const QUIET_AFTER = 4096;

export interface BridgeOptions {
  /** Default `all`. */
  readonly unknown?: UnknownPolicy;
  /** Launches since the last hold that may have written anything, after which no launch need be told until the next one. Default {@link QUIET_AFTER}. */
  readonly quietAfter?: number;
}
