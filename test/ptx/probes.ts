/** The probes of `accepted-probes.txt`, each as a whole module. */
import { readFileSync } from 'node:fs';
import { HEAD, moduleWithBody } from './helpers.js';

export function probes(): { readonly name: string; readonly text: string }[] {
  const file = readFileSync(new URL('accepted-probes.txt', import.meta.url), 'latin1');
  return file
    .split(/^### /m)
    .slice(1)
    .map((probe) => {
      const end = probe.indexOf('\n');
      const name = probe.slice(0, end);
      const text = probe.slice(end + 1);
      if (name.startsWith('body:')) return { name, text: moduleWithBody(text) };
      return { name, text: name.startsWith('module:') ? HEAD + text : text };
    });
}
