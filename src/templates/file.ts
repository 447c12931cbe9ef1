/**
 * Template files: written one kernel a line, so that a file of many kernels is written and compared piece by piece; read
 * with the schema that ships in the package, and with every index checked, so that whoever uses a template need not.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Ajv2020 } from 'ajv/dist/2020.js';
import { type Diagnostic, InputError } from '../diagnostics/index.js';
import { MEMORY_SPACES, operandCount, reversePostorder, SPECIAL_VALUES } from '../ir/form.js';
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

/** Widest value in bits, longest decimal constant of that width, and most elements of one access. */
const MAX_WIDTH = 1024;
const MAX_DIGITS = 309;
const MAX_ELEMENTS = 1024;
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

/** Loaded with the first file that is read: who only makes templates begins without it. */
function templateValidator(): NonNullable<typeof validator> {
  if (!validator) {
    const ajv = createRequire(import.meta.url)('ajv/dist/2020.js') as { Ajv2020: typeof Ajv2020 };
    validator = new ajv.Ajv2020({ allErrors: false, strict: false }).compile(TEMPLATE_SCHEMA);
  }
  return validator;
}

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
  const validate = templateValidator();
  if (!validate(value)) {
    const [error] = validate.errors ?? [];
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

const isIndex = (index: unknown, limit: number): boolean =>
  Number.isInteger(index) && (index as number) >= 0 && (index as number) < limit;
const SPACES: ReadonlySet<unknown> = new Set(MEMORY_SPACES);

/** What is wrong with one value, in words. */
function findBadValue(kernel: KernelTemplate, id: number): string | undefined {
  const { values, blocks, objects, functions } = kernel;
  const value = values[id]!;
  const [op, width, ...rest] = value;
  const wrong = (what: string) => `value ${id} (${op}) ${what}`;
  if (width < 1 || width > MAX_WIDTH) return wrong(`has a width of ${width}`);
  if (op === 'phi') {
    if (rest.length === 0 || rest.length % 2 === 1) return wrong('is not made of pairs');
    for (const [index, part] of rest.entries()) {
      if (!isIndex(part, index % 2 === 0 ? blocks.length : values.length))
        return wrong(`uses ${part}, which is not there`);
    }
    return undefined;
  }
  const limits: Readonly<Record<string, number>> = {
    parameter: Number.MAX_SAFE_INTEGER,
    parameterAddress: Number.MAX_SAFE_INTEGER,
    objectAddress: objects.length,
    functionAddress: functions.length,
  };
  const limit = limits[op];
  if (limit !== undefined) {
    return rest.length === 1 && isIndex(rest[0], limit) ? undefined : wrong(`names ${rest[0]}, which is not there`);
  }
  switch (op) {
    case 'constant':
      return typeof rest[0] === 'string' && rest[0].length <= MAX_DIGITS && /^\d+$/.test(rest[0])
        ? undefined
        : wrong('is malformed');
    case 'special':
      return (SPECIAL_VALUES as readonly unknown[]).includes(rest[0]) ? undefined : wrong(`names ${rest[0]}`);
    case 'opaque':
      return typeof rest[0] === 'string' ? undefined : wrong('gives no reason');
    case 'undefined':
      return undefined;
    case 'toGeneric':
    case 'fromGeneric':
    case 'isSpace':
    case 'load':
      if (!SPACES.has(rest[0])) return wrong(`names the space ${rest[0]}`);
      break;
    case 'element':
      if (!isIndex(rest[1], MAX_ELEMENTS)) return wrong(`takes element ${rest[1]}`);
      break;
    case 'exchange':
      if (rest.length !== 1) return wrong(`has ${rest.length} operands`);
      break;
    default: {
      const count = operandCount(op);
      if (count === undefined) return wrong('is not known');
      const operands = typeof rest.at(-1) === 'object' ? rest.slice(0, -1) : rest;
      if (operands.length !== count) return wrong(`has ${operands.length} operands`);
      if (operands.some((operand) => typeof operand !== 'number')) return wrong('has an operand that is no value');
    }
  }
  for (const operand of operandsOf(value)) {
    if (!isIndex(operand, values.length)) return wrong(`uses value ${operand}, which is not there`);
    if (operand >= id) return wrong(`uses value ${operand} before it is made`);
  }
  return undefined;
}

/** The first thing in a kernel that does not hold together, in words. */
function findBadReference(kernel: KernelTemplate, modules: number): string | undefined {
  const { values, blocks } = kernel;
  if (!isIndex(kernel.module, modules)) return `module ${kernel.module} is not there`;
  for (const { name, size, initial, relocations } of kernel.objects) {
    if ((initial?.length ?? 0) > 2 * size) return `variable ${name} holds more than its ${size} bytes`;
    if (initial === undefined && relocations) return `variable ${name} has relocations in unknown content`;
    const outside = relocations?.find(({ offset, bytes }) => offset + bytes > size);
    if (outside) return `variable ${name} has a relocation at ${outside.offset}, past its end`;
  }
  for (const id of values.keys()) {
    const wrong = findBadValue(kernel, id);
    if (wrong) return wrong;
  }
  let before = 0;
  for (const [index, block] of blocks.entries()) {
    if (block.first < before || block.first > values.length) return `block ${index} starts at a wrong value`;
    before = block.first;
    for (const target of endTargets(block.end)) {
      if (!isIndex(target, blocks.length)) return `block ${index} leads to block ${target}, which is not there`;
      if (target === 0) return `block ${index} leads to the entry`;
    }
    const parts = { jump: 2, branch: 4, switch: 3, exit: 1 }[block.end[0]];
    if (block.end[0] === 'switch' ? block.end.length < parts : block.end.length !== parts) {
      return `block ${index} has a malformed end`;
    }
    const used = block.end[0] === 'branch' || block.end[0] === 'switch' ? block.end[1] : 0;
    if (block.end[0] !== 'exit' && block.end[0] !== 'jump' && !isIndex(used, values.length)) {
      return `block ${index} branches on a value that is not there`;
    }
  }
  if (blocks[0]?.first !== 0) return 'the first block does not start at value 0';
  const reached = new Set(
    reversePostorder(
      blocks.map((block) => endTargets(block.end)),
      0,
    ),
  );
  for (const index of blocks.keys()) if (!reached.has(index)) return `block ${index} is never reached`;
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
