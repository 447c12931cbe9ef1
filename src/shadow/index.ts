export {
  type ConcreteOptions,
  type ConcreteResult,
  executeConcretely,
  type LaunchRecord,
} from './concrete.js';
export { type AddressRange, RangeCollector } from './ranges.js';
