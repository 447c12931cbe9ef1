/**
 * Templates of module images, kept between runs. A file is named by the image's hash and stamped with the code that made it, so that
 * templates of an older analysis are never used; whatever is damaged is as good as absent. Nothing here fails: a cache that cannot be
 * written only costs time.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { encodeTemplateFile, parseTemplateFile, type TemplateFile } from '../templates/index.js';

/** The stages whose code decides over a template. */
const STAGES = ['diagnostics', 'sources', 'ptx', 'ir', 'templates', 'pipeline'] as const;

const sha256 = (...pieces: readonly (string | Uint8Array)[]): string => {
  const hash = createHash('sha256');
  for (const piece of pieces) hash.update(piece);
  return hash.digest('hex');
};

/** `$XDG_CACHE_HOME/gcr-templates`, or the same in `~/.cache`. */
export function cacheFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const base = environment['XDG_CACHE_HOME'];
  return join(base && isAbsolute(base) ? base : join(homedir(), '.cache'), 'gcr-templates');
}

/** A hash of the code of all stages that make templates. */
async function stampOfCode(): Promise<string> {
  const pieces: (string | Uint8Array)[] = [];
  for (const stage of STAGES) {
    const folder = fileURLToPath(new URL(`../${stage}/`, import.meta.url));
    const files = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith('.js')).sort();
    for (const file of files) pieces.push(`${stage}/${file}\n`, await readFile(join(folder, file)));
  }
  return sha256(...pieces);
}

export class TemplateCache {
  #stamp: Promise<string> | undefined;

  constructor(readonly folder: string) {}

  /** First line of a file: what made it, of what, and the hash of the rest. */
  async #head(image: string, body: string): Promise<string> {
    this.#stamp ??= stampOfCode();
    return `gcr-template-cache 1 ${await this.#stamp} ${image} ${sha256(body)}\n`;
  }

  #path(image: string): string {
    return join(this.folder, 'templates', `${image}.json`);
  }

  /** The name of an image. */
  static nameOf(bytes: Uint8Array): string {
    return sha256(bytes);
  }

  async get(image: string): Promise<TemplateFile | undefined> {
    try {
      const text = await readFile(this.#path(image), 'utf8');
      const body = text.slice(text.indexOf('\n') + 1);
      if (text.slice(0, text.length - body.length) !== (await this.#head(image, body))) return undefined;
      return parseTemplateFile(body);
    } catch {
      return undefined;
    }
  }

  async put(image: string, templates: TemplateFile): Promise<void> {
    const path = this.#path(image);
    const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
    try {
      const body = encodeTemplateFile(templates);
      await mkdir(join(this.folder, 'templates'), { recursive: true, mode: 0o700 });
      await writeFile(temporary, (await this.#head(image, body)) + body, { mode: 0o600 });
      await rename(temporary, path);
    } catch {
      await rm(temporary, { force: true }).catch(() => {});
    }
  }
}
