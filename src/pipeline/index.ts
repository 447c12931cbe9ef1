export {
  type BuildOptions,
  type BuildSummary,
  type BuiltTemplates,
  buildTemplates,
  buildTemplatesFromText,
  buildTemplatesTo,
  kernelsNotFound,
} from './build.js';
export { buildTemplatesFromImage } from './image.js';
