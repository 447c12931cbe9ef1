export {
  type BuildOptions,
  type BuildSummary,
  buildTemplates,
  buildTemplatesFromText,
  buildTemplatesTo,
} from './build.js';
