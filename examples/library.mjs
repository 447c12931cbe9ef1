/**
 * gcr-templates as a library, in three steps: templates from PTX text, what each kernel writes as a formula, and the very
 * bytes of one launch. Run it from a built clone: `node examples/library.mjs [file.ptx …]`
 */
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { buildTemplatesFromText, executeConcretely, FormulaPrinter, formatDiagnostic } from 'gcr-templates';

const ideas = new URL('../fixtures/ptx/ideas/', import.meta.url);
const files = process.argv.slice(2);
if (files.length === 0) {
  for (const name of ['loop-grid-stride', 'two-kernels', 'index-loaded-word']) {
    files.push(new URL(`${name}.ptx`, ideas).pathname);
  }
}

// 1. Templates: once a module, no GPU needed. Bad input is a diagnostic; whatever else is in the text is still built.
const kernels = new Map();
for (const file of files) {
  const { product, diagnostics } = await buildTemplatesFromText(readFileSync(file, 'utf8'), basename(file));
  for (const diagnostic of diagnostics) console.error(formatDiagnostic(diagnostic));
  for (const kernel of product.kernels) kernels.set(kernel.name, kernel);
}

// 2. What each kernel may write.
for (const kernel of kernels.values()) {
  console.log(`${kernel.name}: ${kernel.verdict}`);
  const printer = new FormulaPrinter(kernel);
  for (const site of kernel.writes) {
    // A window is memory that is not global: shared, local, constant, parameter.
    if (site.window) continue;
    const { place, conditions, loops } = printer.site(site);
    const guard = conditions.length > 0 ? ` if ${conditions.join(' and ')}` : '';
    const range = loops.length > 0 ? ` for ${loops.join(', ')}` : '';
    console.log(`  ${site.bytes} bytes at ${place}${guard}${range}`);
    for (const { code, message } of site.reasons) console.log(`  ${code}: ${message}`);
  }
}

// 3. One launch: the parameter block as the driver gets it, and every byte that the launch may have written.
const template = kernels.get('k_stride');
if (template) {
  const parameters = new DataView(new ArrayBuffer(template.parameterBytes));
  const at = (name) => template.parameters.find((parameter) => parameter.name.endsWith(name)).offset;
  parameters.setBigUint64(at('out'), 0x7f0000000000n, true);
  parameters.setUint32(at('n'), 1000, true);
  const { verdict, ranges } = executeConcretely(template, {
    kernel: template.name,
    grid: [4, 1, 1],
    block: [64, 1, 1],
    parameters: new Uint8Array(parameters.buffer),
  });
  console.log(`launch of ${template.name} with 4 × 64 threads and n = 1000: ${verdict}`);
  for (const { from, to } of ranges) console.log(`  0x${from.toString(16)} … 0x${to.toString(16)}: ${to - from} bytes`);
}
