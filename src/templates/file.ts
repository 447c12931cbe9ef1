/**
 * Template files: written one kernel a line, so that a file of many kernels is written and compared piece by piece; read
 * with the schema that ships in the package, and with every index checked, so that whoever uses a template need not.
 */
import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { type Diagnostic, InputError } from '../diagnostics/index.js';
import { endTargets, operandsOf } from './formula.js';
import {
  type KernelTemplate,
  type MissingTemplate,
  type Site,
  TEMPLATE_FORMAT,
  TEMPLATE_VERSION,
  type TemplateFile,
  type TemplateModule,
} from './types.js';

/** The JSON schema of a template file (draft 2020-12). */
export const TEMPLATE_SCHEMA = JSON.parse(
  readFileSync(new URL('../../schema/template.schema.json', import.meta.url), 'utf8'),
) as object;

/** A file larger than this is refused: V8 cannot hold its text. */
const MAX_BYTES = 512 * 1024 * 1024 - 1024;

/** The pieces of a template file. Kernels come as JSON, so that worker threads can make them. */
export function templateFileParts() {
  const list = (items: readonly object[]) => items.map((item) => `\n${JSON.stringify(item)}`).join(',');
  return {
    head: `{"format":"${TEMPLATE_FORMAT}","version":${TEMPLATE_VERSION},"kernels":[`,
    kernel: (json: string, first: boolean) => `${first ? '' : ','}\n${json}`,
    tail: (modules: readonly TemplateModule[], missing: readonly MissingTemplate[]) =>
      `],"modules":[${list(modules)}],"missing":[${list(missing)}]}\n`,
  };
}

/** A whole template file as text. Deterministic: equal content gives equal bytes. */
export function encodeTemplateFile(file: TemplateFile): string {
  const parts = templateFileParts();
  const kernels = file.kernels.map((kernel, index) => parts.kernel(JSON.stringify(kernel), index === 0));
  return `${parts.head}${kernels.join('')}${parts.tail(file.modules, file.missing)}`;
}

let validator: ReturnType<Ajv2020['compile']> | undefined;

function problem(source: string, message: string, code: 'GCR4009' | 'GCR4010' = 'GCR4009', hint?: string): InputError {
  const diagnostic: Diagnostic = { code, severity: 'error', message, source, ...(hint && { hint }) };
  return new InputError(diagnostic);
}

/**
 * Reads the text of a template file.
 *
 * @param source display name for messages
 * @throws InputError GCR4009 when it is not a valid template file, GCR4010 when a newer version wrote it
 */
export function parseTemplateFile(text: string, source = 'templates'): TemplateFile {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw problem(
      source,
      `not JSON: ${(error as Error).message}`,
      'GCR4009',
      'give a file that `gcr-templates build` wrote',
    );
  }
  const head = value as { format?: unknown; version?: unknown } | null;
  if (typeof head !== 'object' || head === null || head.format !== TEMPLATE_FORMAT) {
    throw problem(source, 'not a template file', 'GCR4009', 'give a file that `gcr-templates build` wrote');
  }
  if (typeof head.version === 'number' && head.version > TEMPLATE_VERSION) {
    throw problem(
      source,
      `template format version ${head.version} is newer than ${TEMPLATE_VERSION}`,
      'GCR4010',
      'update gcr-templates, or build the templates again',
    );
  }
  validator ??= new Ajv2020({ allErrors: false, strict: false }).compile(TEMPLATE_SCHEMA);
  if (!validator(value)) {
    const [error] = validator.errors ?? [];
    throw problem(source, `${error?.instancePath || '/'} ${error?.message ?? 'is not valid'}`);
  }
  const file = value as TemplateFile;
  for (const [index, kernel] of file.kernels.entries()) {
    const wrong = findBadReference(kernel, file.modules.length);
    if (wrong) throw problem(source, `/kernels/${index} (${kernel.name}): ${wrong}`);
  }
  return file;
}

/** Reads a template file from disk; errors as {@link parseTemplateFile}, and GCR1002 when it cannot be read. */
export function readTemplateFile(path: string): TemplateFile {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new InputError({ code: 'GCR1002', severity: 'error', message: (error as Error).message, source: path });
  }
  if (bytes.length > MAX_BYTES) {
    throw problem(path, `file of ${bytes.length} bytes is too large`, 'GCR4009', 'build its inputs into several files');
  }
  return parseTemplateFile(bytes.toString('utf8'), path);
}

/** The first index of a kernel that points nowhere, in words. */
function findBadReference(kernel: KernelTemplate, modules: number): string | undefined {
  const { values, blocks } = kernel;
  const isIndex = (index: unknown, limit: number) =>
    Number.isInteger(index) && (index as number) >= 0 && (index as number) < limit;
  if (!isIndex(kernel.module, modules)) return `module ${kernel.module} is not there`;
  for (const [id, value] of values.entries()) {
    const [op] = value;
    for (const operand of operandsOf(value)) {
      if (!isIndex(operand, values.length)) return `value ${id} uses value ${operand}, which is not there`;
      if (op !== 'phi' && (operand as number) >= id) return `value ${id} uses value ${operand} before it is made`;
    }
    if (op === 'phi') {
      const pairs = value.slice(2);
      if (pairs.length % 2 === 1 || pairs.some((p, i) => i % 2 === 0 && !isIndex(p, blocks.length))) {
        return `value ${id} is a malformed phi`;
      }
    }
    if (op === 'constant' && !/^\d+$/.test(String(value[2]))) return `value ${id} is a malformed constant`;
    if (op === 'objectAddress' && !isIndex(value[2], kernel.objects.length)) return `value ${id} names no object`;
    if (op === 'functionAddress' && !isIndex(value[2], kernel.functions.length)) return `value ${id} names no function`;
  }
  let before = 0;
  for (const [index, block] of blocks.entries()) {
    if (block.first < before || block.first > values.length) return `block ${index} starts at a wrong value`;
    before = block.first;
    for (const target of endTargets(block.end)) {
      if (!isIndex(target, blocks.length)) return `block ${index} leads to block ${target}, which is not there`;
    }
    const used = block.end[0] === 'branch' || block.end[0] === 'switch' ? block.end[1] : 0;
    if (block.end[0] !== 'exit' && block.end[0] !== 'jump' && !isIndex(used, values.length)) {
      return `block ${index} branches on a value that is not there`;
    }
  }
  if (blocks[0]?.first !== 0) return 'the first block does not start at value 0';
  for (const site of [...kernel.writes, ...kernel.reads]) {
    if (!isIndex(site.block, blocks.length))
      return `site at line ${site.line} is in block ${site.block}, which is not there`;
    for (const operand of siteValues(site)) {
      if (!isIndex(operand, values.length))
        return `site at line ${site.line} uses value ${operand}, which is not there`;
    }
  }
  return undefined;
}

function siteValues(site: Site): number[] {
  return [site.address, site.length, site.guard, site.rows?.stride, ...(site.coordinates ?? [])].filter(
    (value) => value !== undefined,
  );
}
